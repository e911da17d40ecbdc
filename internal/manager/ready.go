package manager

import "context"

// Ready asks the store whether it is there, and whether it lets sessions be read. A
// store that only refuses to write is ready: it would help nobody to send requests
// to another server that uses the same one.
func (m *Manager) Ready(ctx context.Context) error {
	store, err := m.OpenStore()
	if err != nil {
		return err
	}
	if err := store.Ping(ctx); err != nil {
		return err
	}
	return store.Health.Refusal(ctx)
}
