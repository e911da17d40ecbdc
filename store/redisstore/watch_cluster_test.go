package redisstore

import (
	"slices"
	"strings"
	"testing"

	"github.com/caddy-logout/caddy-logout/store/storetest"
)

func TestParseClusterView(t *testing.T) {
	const nodes = `07c3 127.0.0.1:30004@31004,h slave e7d1 0 1426238317239 4 connected
67ed 127.0.0.1:30002@31002,h master - 0 1426238316232 2 connected 5461-10922
e7d1 127.0.0.1:30001@31001,h myself,master - 0 0 1 connected 0-5460 7000 [93->-67ed] [77-<-0000]
0000 127.0.0.1:30005@31005,h master - 0 0 7 connected
`
	v, err := parseClusterView(nodes)
	storetest.NoError(t, err)
	if v.id != "e7d1" || !slices.Equal(v.slots, []string{"67ed 5461-10922", "e7d1 0-5460 7000"}) ||
		!slices.Equal(v.owners, []string{"67ed", "e7d1"}) || !slices.Equal(v.moves, []string{"67ed", "0000"}) {
		t.Errorf("%+v", v)
	}
	if _, err := parseClusterView(strings.ReplaceAll(nodes, "myself,master", "myself,slave")); err == nil {
		t.Error("a replica was taken for a master")
	}

	one := clusterView{id: "a", slots: []string{"a 1", "b 2"}, owners: []string{"a", "b"}}
	two := one
	two.id = "b"
	stale := two
	stale.slots = []string{"a 1-2", "b"}
	moving, away := two, two
	moving.moves, away.moves = []string{"a"}, []string{"new"}
	tests := map[string]struct {
		views []clusterView
		agree bool
	}{
		"all of one mind":               {[]clusterView{one, two}, true},
		"none":                          {nil, false},
		"one is missing":                {[]clusterView{one}, false},
		"one thinks otherwise":          {[]clusterView{one, stale}, false},
		"one is asked twice":            {[]clusterView{one, one}, false},
		"a slot moves among them":       {[]clusterView{one, moving}, true},
		"a slot moves to somebody else": {[]clusterView{one, away}, false},
	}
	for name, test := range tests {
		if err := agree(test.views); (err == nil) != test.agree {
			t.Errorf("%s: %v", name, err)
		}
	}
}
