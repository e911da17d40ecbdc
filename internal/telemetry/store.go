package telemetry

import (
	"context"
	"errors"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/caddy-logout/caddy-logout/session"
)

// MeasuredStore is a store whose operations are measured.
type MeasuredStore struct{ session.Store }

// storeOperation measures one kind of operation.
type storeOperation struct {
	seconds prometheus.Observer
	errors  prometheus.Counter
}

func measure(operation string) storeOperation {
	return storeOperation{Meters.storeSeconds.WithLabelValues(operation), Meters.storeErrors.WithLabelValues(operation)}
}

// The operations by the names under which they are exported.
var (
	measureGet       = measure("get")
	measureCreate    = measure("create")
	measureRevoke    = measure("revoke")
	measureRevokeAll = measure("revoke_all")
	measureTouch     = measure("touch")
	measureKeys      = measure("keys")
	measurePutError  = measure("put_error")
	measureGetError  = measure("get_error")
	measurePing      = measure("ping")
)

// done records the result of an operation. A cancelled operation is not
// counted, and one that the breaker refused has no duration.
func (o storeOperation) done(ctx context.Context, began time.Time, err error) {
	if err == nil || errors.Is(err, session.ErrNotFound) || errors.Is(err, session.ErrExists) {
		o.seconds.Observe(time.Since(began).Seconds())
		return
	}
	if errors.Is(ctx.Err(), context.Canceled) {
		return
	}
	if !errors.Is(err, session.ErrNotQueried) {
		o.seconds.Observe(time.Since(began).Seconds())
	}
	o.errors.Inc()
}

// Get implements Store.
func (s MeasuredStore) Get(ctx context.Context, key session.Key) (session.Record, error) {
	began := time.Now()
	record, err := s.Store.Get(ctx, key)
	measureGet.done(ctx, began, err)
	return record, err
}

// GetWithUse implements Store.
func (s MeasuredStore) GetWithUse(ctx context.Context, key session.Key) (session.Record, error) {
	began := time.Now()
	record, err := s.Store.GetWithUse(ctx, key)
	measureGet.done(ctx, began, err)
	return record, err
}

// GetMany implements Store. It counts as one read, however many keys there are.
func (s MeasuredStore) GetMany(ctx context.Context, keys []session.Key) ([]session.Record, error) {
	began := time.Now()
	records, err := s.Store.GetMany(ctx, keys)
	measureGet.done(ctx, began, err)
	return records, err
}

// Create implements Store.
func (s MeasuredStore) Create(ctx context.Context, key session.Key, e session.Entry) error {
	began := time.Now()
	err := s.Store.Create(ctx, key, e)
	measureCreate.done(ctx, began, err)
	return err
}

// Revoke implements Store.
func (s MeasuredStore) Revoke(ctx context.Context, key session.Key, identity string, at, until time.Time) (bool, error) {
	began := time.Now()
	ended, err := s.Store.Revoke(ctx, key, identity, at, until)
	measureRevoke.done(ctx, began, err)
	return ended, err
}

// RevokeAll implements Store.
func (s MeasuredStore) RevokeAll(ctx context.Context, identity string, keys []session.IndexedKey, at, least time.Time) (int, error) {
	began := time.Now()
	ended, err := s.Store.RevokeAll(ctx, identity, keys, at, least)
	measureRevokeAll.done(ctx, began, err)
	return ended, err
}

// Touch implements Store.
func (s MeasuredStore) Touch(ctx context.Context, key session.Key, at, until time.Time) error {
	began := time.Now()
	err := s.Store.Touch(ctx, key, at, until)
	measureTouch.done(ctx, began, err)
	return err
}

// Keys implements Store.
func (s MeasuredStore) Keys(ctx context.Context, identity string) ([]session.IndexedKey, error) {
	began := time.Now()
	keys, err := s.Store.Keys(ctx, identity)
	measureKeys.done(ctx, began, err)
	return keys, err
}

// PutError implements Store.
func (s MeasuredStore) PutError(ctx context.Context, id string, value []byte, until time.Time) error {
	began := time.Now()
	err := s.Store.PutError(ctx, id, value, until)
	measurePutError.done(ctx, began, err)
	return err
}

// GetError implements Store.
func (s MeasuredStore) GetError(ctx context.Context, id string) ([]byte, error) {
	began := time.Now()
	value, err := s.Store.GetError(ctx, id)
	measureGetError.done(ctx, began, err)
	return value, err
}

// Ping implements Store.
func (s MeasuredStore) Ping(ctx context.Context) error {
	began := time.Now()
	err := s.Store.Ping(ctx)
	measurePing.done(ctx, began, err)
	return err
}

// Interface guard.
var _ session.Store = MeasuredStore{}
