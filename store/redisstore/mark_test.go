package redisstore

import (
	"testing"
	"time"
)

func TestMark(t *testing.T) {
	now := time.Now()
	tests := map[string]struct {
		held    string
		found   string
		age     time.Duration
		changed bool
	}{
		"the first":             {"", "", 0, false},
		"as it was left":        {"one", "one", watchServer, false},
		"gone":                  {"one", "", watchServer, true},
		"another":               {"one", "two", watchServer, true},
		"gone, but it is time":  {"one", "", markLife, false},
		"forgotten by a flush":  {"", "", watchServer, false},
		"of before, then flush": {"", "one", watchServer, false},
	}
	for name, test := range tests {
		if got := (databaseMark{held: test.held, until: now.Add(markLife / 2)}).changed(test.found, now.Add(test.age)); got != test.changed {
			t.Errorf("%s: changed %v, want %v", name, got, test.changed)
		}
	}
}
