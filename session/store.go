package session

import (
	"context"
	"errors"
	"time"
)

// Errors of a [Store]. They never carry data that came from a client.
var (
	// ErrUnavailable says that the store was unavailable. It says nothing
	// about a session: callers answer 503 and leave cookies unchanged.
	ErrUnavailable = errors.New("session store unavailable")
	// ErrNotFound says that the store was queried and holds nothing under
	// the name.
	ErrNotFound = errors.New("not found in the session store")
	// ErrExists says that a key cannot be created: it is taken, or it was revoked.
	ErrExists = errors.New("session key exists or was revoked")
	// ErrNotQueried is the cause of an ErrUnavailable of a store that was found to be
	// unavailable a moment ago and was not queried again.
	ErrNotQueried = errors.New("not queried, as it was unavailable a moment ago")
)

// Record is all that a store knows of one key, read in one round trip. The zero
// Record says that it knows nothing.
type Record struct {
	// Value is the stored session, nil if there is none. A format decodes it.
	Value []byte
	// RevokedAt is when the key was revoked, zero if it was not. A key with a
	// tombstone is revoked even if it has a value: a request in flight may have
	// written the value back.
	RevokedAt time.Time
	// LastUsed is the last use that was written, zero if none was.
	LastUsed time.Time
}

// Entry is a session to be created.
type Entry struct {
	// Identity is whose index the session goes into.
	Identity string
	// Value is the encoded session.
	Value []byte
	// ExpiresAt is when the store may forget it.
	ExpiresAt time.Time
	// Bound, if it is not nil, receives from Create whether the identity
	// has too many sessions now.
	Bound *Bound
}

// Bound is how many sessions an identity is to have at most.
type Bound struct {
	// Max is the number, more than 0.
	Max int
	// Exceeded says that the index listed more when the session was there,
	// perhaps with some that expired within ClockTolerance.
	Exceeded bool
}

// IndexedKey is a key in the index of an identity.
type IndexedKey struct {
	Key Key
	// ExpiresAt is when the session ends, to the second and never too early.
	ExpiresAt time.Time
}

// Store keeps sessions. It knows keys and bytes; only a format knows what the bytes
// mean. All methods are safe for concurrent use, return an error that wraps
// [ErrUnavailable] when the store is unavailable, and have written durably (as far as
// the store can) when they return nil.
type Store interface {
	// Get reads the session and the tombstone of key in one round trip, and
	// leaves LastUsed zero. An unknown or expired key is a zero Record and no
	// error.
	Get(ctx context.Context, key Key) (Record, error)

	// GetWithUse is Get with LastUsed: for those who end idle sessions, so that
	// the others do not pay for it on every check.
	GetWithUse(ctx context.Context, key Key) (Record, error)

	// GetMany is GetWithUse for many keys, in few round trips and in their order.
	// It fails as a whole.
	GetMany(ctx context.Context, keys []Key) ([]Record, error)

	// Create stores a session that is not there yet, first into the index of
	// its identity and then under its key, so that no crash leaves a live
	// session that [Store.Keys] does not list. It returns [ErrExists], and
	// changes nothing that is live, if the key is taken or has a tombstone.
	Create(ctx context.Context, key Key, e Entry) error

	// Revoke writes a tombstone that lasts until the given time, then deletes
	// the session, then takes it out of the index of identity: in this order,
	// so that after a crash no revoked session is live. The tombstone is
	// written whether or not a session is there; one that exists keeps its time
	// of revocation. ended says whether a session was there.
	Revoke(ctx context.Context, key Key, identity string, at, until time.Time) (ended bool, err error)

	// RevokeAll is Revoke for many keys of one identity, in few round trips. The
	// tombstone of a key lasts until the key's ExpiresAt, but at least until
	// least. ended counts the sessions that were there; with an error it counts
	// those that were ended before it, and what is left can be tried again.
	RevokeAll(ctx context.Context, identity string, keys []IndexedKey, at, least time.Time) (ended int, err error)

	// Touch records a use of key at the given time; the record may be
	// forgotten after until. It never creates a session, nor revives one.
	Touch(ctx context.Context, key Key, at, until time.Time) error

	// Keys lists the keys in the index of identity, in no order, but those that
	// have expired by the clock of every server, see ClockTolerance. A key that
	// is listed may be gone.
	Keys(ctx context.Context, identity string) ([]IndexedKey, error)

	// WalkIdentities calls found with the identities that have an index, some
	// at a time, and ends with the error that found returns. Identities that
	// exist from the beginning to the end are found, perhaps more than once;
	// those that come or go meanwhile may be missed. The time grows with the
	// store.
	WalkIdentities(ctx context.Context, found func(identities []string) error) error

	// WalkKeys does the same with the keys of all sessions, also of those that
	// are in no index, because another program wrote them.
	WalkKeys(ctx context.Context, found func(keys []Key) error) error

	// PutError keeps value under id until the given time.
	PutError(ctx context.Context, id string, value []byte, until time.Time) error

	// GetError returns what PutError kept, or [ErrNotFound].
	GetError(ctx context.Context, id string) ([]byte, error)

	// Ping checks that the store answers.
	Ping(ctx context.Context) error

	// Close frees what the store holds. No other method may be called after it.
	Close() error
}

// Watcher is a [Store] that can report every change in it, whichever program
// makes it. A near cache depends on it.
type Watcher interface {
	// Watch reports to sink, from goroutines of its own, until stop is called;
	// stop returns when the last change has been reported. Watch does not wait for
	// the store to be available.
	Watch(sink WatchSink) (stop func())
}

// WatchSink receives the changes in a store. Changed and ChangedAll may be
// called at any time and concurrently; the others come in order.
type WatchSink interface {
	// Armed says that from now on every change of a session or a tombstone is
	// reported, and that this is proven until the given time. Earlier reads may
	// be out of date.
	Armed(until time.Time)
	// Alive moves that time: every change that was made until a moment before
	// it has been reported.
	Alive(until time.Time)
	// Disarmed says that changes are not reported any more.
	Disarmed()
	// Refused says that the store does not report changes at all.
	Refused()
	// Changed says that what is stored of key, other than its last use, may
	// have changed.
	Changed(key Key)
	// ChangedAll says the same of all keys.
	ChangedAll()
}

// StoreModule is a guest module in the namespace sessions.stores: the
// configuration of a store. Provision must neither open files nor use the
// network, so that a configuration can be validated anywhere.
type StoreModule interface {
	// PoolKey names the store that Open would return: two configurations with
	// one pool key share one store, which is how it lives through a reload.
	// It must hold no secret in clear.
	PoolKey() string
	// Open opens the store. It is called when the app starts.
	Open() (Store, error)
}
