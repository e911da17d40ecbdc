//go:build !windows

package main

import (
	"context"
	"fmt"
	"syscall"
	"time"
)

// every calls a function over and over until the context is done.
func every(ctx context.Context, pause time.Duration, do func() error) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(pause):
		}
		if err := do(); err != nil {
			return err
		}
	}
}

// reloadAll reloads one Caddy after the other, each once in its time.
func (s *soak) reloadAll(ctx context.Context) error {
	next := 0
	return every(ctx, s.plan.reload/time.Duration(len(s.nodes)), func() error {
		n := s.nodes[next]
		next = (next + 1) % len(s.nodes)
		life := n.life.Load()
		if life%2 == 0 {
			return nil
		}
		if err := n.reload(ctx); err != nil && n.life.Load() == life {
			s.complain(&s.counts.failedLoad, "%v", err)
		}
		s.counts.reloads.Add(1)
		return nil
	})
}

// redisAway kills Redis and starts it again with its data, or makes it hang.
func (s *soak) redisAway(ctx context.Context) error {
	kill := false
	return every(ctx, s.plan.redis, func() error {
		kill = !kill
		over := s.groups[0].trouble()
		defer over()
		if !kill {
			if err := s.redis.Signal(syscall.SIGSTOP); err != nil {
				return fmt.Errorf("stopping Redis: %w", err)
			}
			s.counts.redisPauses.Add(1)
			wait(ctx, s.plan.away)
			return s.redis.Signal(syscall.SIGCONT)
		}
		s.redis.End(syscall.SIGKILL)
		s.counts.redisKills.Add(1)
		wait(ctx, s.plan.away)
		// Also at the end of the run: the last checks need Redis.
		return s.redis.Restart(context.WithoutCancel(ctx))
	})
}

func wait(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// killAll kills one Caddy after the other and starts it again. For most of the run it
// kills none, so that growth has time to show.
func (s *soak) killAll(ctx context.Context) error {
	next := 0
	one := func() error {
		n := s.nodes[len(s.nodes)-1-next%len(s.nodes)]
		next++
		over := n.group.trouble()
		defer over()
		n.kill()
		s.counts.nodeKills.Add(1)
		return n.start(context.WithoutCancel(ctx))
	}
	err := every(ctx, s.plan.kill, func() error {
		at := time.Since(s.begin)
		if at > s.plan.killsUntil && at < s.plan.killsFrom {
			return nil
		}
		return one()
	})
	if err != nil {
		return err
	}
	// In a run of any length: each once more.
	for range s.nodes {
		if err := one(); err != nil {
			return err
		}
	}
	return nil
}
