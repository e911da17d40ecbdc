package main

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base32"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

const prefix = "caddy-logout:"

var lowerBase32 = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

func sessionName(key string) string { return prefix + "session:{" + key + "}" }

// session is a session that was made.
type session struct{ credential, key, identity string }

// newSession makes the names of a session.
func newSession(identity string) session {
	var random [20]byte
	_, _ = rand.Read(random[:])
	credential := "ory_st_" + lowerBase32.EncodeToString(random[:])
	sum := sha256.Sum256([]byte(credential))
	return session{credential, hex.EncodeToString(sum[:]), identity}
}

// id is the first 16 bytes of the key as a UUID of version 8.
func (s session) id() string {
	b, _ := hex.DecodeString(s.key[:32])
	b[6], b[8] = b[6]&0x0f|0x80, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:16])
}

// value is a session of usual size: some traits, and a browser's User-Agent.
func (s session) value(now, end time.Time) []byte {
	value, _ := json.Marshal(map[string]any{
		"v": 1, "id": s.id(), "identity": s.identity, "method": "password",
		"traits": map[string]any{
			"email": s.identity + "@example.com", "name": map[string]string{"first": "Some", "last": "Body"},
		},
		"issued_at": now.Format(time.RFC3339Nano), "authenticated_at": now.Format(time.RFC3339Nano),
		"expires_at": end.Format(time.RFC3339Nano),
		"device": map[string]string{
			"ip_address": "192.0.2.7",
			"user_agent": "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
		},
	})
	return value
}

// fill writes n sessions straight into Redis, as docs/redis.md shows a login service:
// one for each person, or all of one person if identity is given.
func (b *bench) fill(ctx context.Context, n int, identity string) ([]session, error) {
	now := time.Now().UTC().Truncate(time.Millisecond)
	end := now.Add(24 * time.Hour)
	sessions := make([]session, n)
	for i := range sessions {
		person := identity
		if person == "" {
			person = "person-" + strconv.Itoa(i) + "-" + strings.ToLower(rand.Text()[:6])
		}
		sessions[i] = newSession(person)
	}
	for some := range slices.Chunk(sessions, 1000) {
		pipe := b.client.Pipeline()
		for _, s := range some {
			index := prefix + "identity:" + s.identity
			pipe.Do(ctx, "zadd", index, "gt", end.Unix()+1, s.key)
			pipe.Do(ctx, "expireat", index, end.Unix()+1)
			pipe.Do(ctx, "set", sessionName(s.key), s.value(now, end), "nx", "pxat", end.UnixMilli())
		}
		if _, err := pipe.Exec(ctx); err != nil {
			return nil, fmt.Errorf("making sessions: %w", err)
		}
	}
	return sessions, nil
}

// credentials makes n sessions and writes their credentials to a file for the load
// generator.
func (b *bench) credentials(ctx context.Context, name string, n int) (file string, err error) {
	sessions, err := b.fill(ctx, n, "")
	if err != nil {
		return "", err
	}
	var text strings.Builder
	for _, s := range sessions {
		text.WriteString(s.credential + "\n")
	}
	file = filepath.Join(b.Dir, name)
	return file, os.WriteFile(file, []byte(text.String()), 0o600)
}
