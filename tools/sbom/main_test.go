package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"runtime/debug"
	"strings"
	"testing"
)

func TestBill(t *testing.T) {
	info := &debug.BuildInfo{
		GoVersion: "go1.26.8 X:nodwarf5",
		Main:      debug.Module{Path: "example.com/Program", Version: "(devel)"},
		Deps: []*debug.Module{
			{Path: "example.com/b", Version: "v1.2.3+incompatible", Sum: "h1:AAECAw=="},
			{Path: "example.com/A", Version: "v0.1.0"},
			{Path: "example.com/old", Version: "v1.0.0", Replace: &debug.Module{Path: "example.com/new", Version: "v2.0.0"}},
		},
	}
	bom, err := bill(info, "program", "v7", "1700000000")
	if err != nil {
		t.Fatal(err)
	}
	if m := bom.Metadata; m.Component.Name != "program" || m.Component.Version != "v7" || m.Timestamp != "2023-11-14T22:13:20Z" {
		t.Errorf("the program: %+v", m)
	}
	var got []string
	for _, c := range *bom.Components {
		got = append(got, c.PackageURL)
		if c.Name == "example.com/b" && (*c.Hashes)[0].Value != "00010203" {
			t.Errorf("hashes %+v", *c.Hashes)
		}
	}
	want := []string{
		"pkg:golang/example.com/a@v0.1.0", "pkg:golang/example.com/b@v1.2.3%2Bincompatible",
		"pkg:golang/example.com/new@v2.0.0", "pkg:golang/stdlib@1.26.8",
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("components %q, want %q", got, want)
	}
	if all := *(*bom.Dependencies)[0].Dependencies; !reflect.DeepEqual(all, want) {
		t.Errorf("dependencies %q, want %q", all, want)
	}

	info.Deps[0].Sum = "h1:?"
	if _, err := bill(info, "program", "", ""); err == nil {
		t.Error("a hash that is none: no error")
	}
	if _, err := bill(&debug.BuildInfo{GoVersion: "go1.26.8"}, "program", "", "yesterday"); err == nil {
		t.Error("a time that is none: no error")
	}
}

// TestSameBinarySameFile describes this very test twice.
func TestSameBinarySameFile(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	var files [2][]byte
	for i := range files {
		file := filepath.Join(t.TempDir(), "sbom.json")
		if err := run([]string{"-o", file, self}); err != nil {
			t.Fatal(err)
		}
		if files[i], err = os.ReadFile(file); err != nil {
			t.Fatal(err)
		}
	}
	if !bytes.Equal(files[0], files[1]) {
		t.Error("two files for one binary")
	}
	if !json.Valid(files[0]) || !strings.Contains(string(files[0]), `"pkg:golang/github.com/cyclonedx/cyclonedx-go@`) {
		t.Errorf("not JSON, or without our only module:\n%s", files[0])
	}
	if err := run([]string{"main.go"}); err == nil {
		t.Error("what is no binary has a bill of materials")
	}
}
