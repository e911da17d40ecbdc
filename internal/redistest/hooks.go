package redistest

import (
	"context"
	"sync/atomic"

	"github.com/redis/go-redis/v9"
)

// BeforeSet runs before the first pipeline that begins with SET.
func BeforeSet(run func()) redis.Hook { return &setHook{run: run} }

type setHook struct{ run func() }

// DialHook implements [redis.Hook].
func (h *setHook) DialHook(next redis.DialHook) redis.DialHook { return next }

// ProcessHook implements [redis.Hook].
func (h *setHook) ProcessHook(next redis.ProcessHook) redis.ProcessHook { return next }

// ProcessPipelineHook implements [redis.Hook].
func (h *setHook) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, commands []redis.Cmder) error {
		if run := h.run; run != nil && commands[0].Name() == "set" {
			h.run = nil
			run()
		}
		return next(ctx, commands)
	}
}

// Trips counts round trips.
type Trips struct{ atomic.Int64 }

// DialHook implements [redis.Hook].
func (h *Trips) DialHook(next redis.DialHook) redis.DialHook { return next }

// ProcessHook implements [redis.Hook].
func (h *Trips) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, command redis.Cmder) error {
		h.Add(1)
		return next(ctx, command)
	}
}

// ProcessPipelineHook implements [redis.Hook].
func (h *Trips) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, commands []redis.Cmder) error {
		if commands[0].Name() != "hello" { // which a new connection says
			h.Add(1)
		}
		return next(ctx, commands)
	}
}
