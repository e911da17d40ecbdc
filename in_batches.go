// This file looks many sessions up together, so that they share round trips.

package caddylogout

import (
	"context"
	"fmt"
	"sync"
)

// readAtOnce is how many sessions are asked for together.
const readAtOnce = 256

// inBatches calls do with 0 to n-1, so many at once, until one fails.
func inBatches(n int, do func(i int) error) error {
	for from := 0; from < n; from += readAtOnce {
		var (
			wg    sync.WaitGroup
			once  sync.Once
			first error
		)
		for i := from; i < min(from+readAtOnce, n); i++ {
			wg.Go(func() {
				if err := do(i); err != nil {
					once.Do(func() { first = err })
				}
			})
		}
		wg.Wait()
		if first != nil {
			return fmt.Errorf("reading the sessions of a person: %w", first)
		}
	}
	return nil
}

// readAll asks the store about many keys.
func (a *App) readAll(ctx context.Context, open *opened, keys []IndexedKey) ([]*cached, error) {
	found := make([]*cached, len(keys))
	err := inBatches(len(keys), func(i int) (err error) {
		found[i], err = a.read(ctx, open, keys[i].Key)
		return err
	})
	if err != nil {
		return nil, err
	}
	return found, nil
}

// peekAll is peek for many keys. It returns those that are live sessions, in the
// order of the keys: an entry of something gone is expected.
func (a *App) peekAll(ctx context.Context, keys []IndexedKey) ([]lookupResult, error) {
	found := make([]lookupResult, len(keys))
	err := inBatches(len(keys), func(i int) (err error) {
		found[i], err = a.peek(ctx, keys[i].Key)
		return err
	})
	if err != nil {
		return nil, err
	}
	live := found[:0]
	for _, f := range found {
		if f.session != nil {
			live = append(live, f)
		}
	}
	return live, nil
}
