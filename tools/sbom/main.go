// Command sbom writes the bill of materials of a Go binary, as CycloneDX JSON: the
// Go release and every module that the linker put into it, with their hashes. It
// reads the binary itself, so the list can name nothing more and nothing less.
//
//	go run . -o caddy-logout.cdx.json ../../bin/caddy
//
// The same binary gives the same file, byte for byte. The time that is noted is
// that of SOURCE_DATE_EPOCH, and none if it is not set.
package main

import (
	"cmp"
	"debug/buildinfo"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/CycloneDX/cyclonedx-go"
)

func main() {
	if err := run(os.Args[1:]); err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "sbom:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	flags := flag.NewFlagSet("sbom", flag.ContinueOnError)
	name := flags.String("name", "caddy-logout", "name of the program")
	version := flags.String("version-env", "", "variable that holds the version of the program (default: that of its main module)")
	output := flags.String("o", "", "file to write (default: standard output)")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.NArg() != 1 {
		return errors.New("want one argument, the binary")
	}
	info, err := buildinfo.ReadFile(flags.Arg(0))
	if err != nil {
		return fmt.Errorf("reading the binary: %w", err)
	}
	bom, err := bill(info, *name, os.Getenv(*version), os.Getenv("SOURCE_DATE_EPOCH"))
	if err != nil {
		return err
	}
	if *output == "" {
		return write(os.Stdout, bom)
	}
	f, err := os.Create(*output)
	if err != nil {
		return err
	}
	return errors.Join(write(f, bom), f.Close())
}

func write(w io.Writer, bom *cyclonedx.BOM) error {
	// Not the newest version: what reads these files is seldom as new.
	return cyclonedx.NewBOMEncoder(w, cyclonedx.BOMFileFormatJSON).SetPretty(true).EncodeVersion(bom, cyclonedx.SpecVersion1_5)
}

// bill lists what is in a binary.
func bill(info *debug.BuildInfo, name, version, epoch string) (*cyclonedx.BOM, error) {
	bom := cyclonedx.NewBOM()
	program := module(&info.Main)
	program.Type, program.Name = cyclonedx.ComponentTypeApplication, name
	if version != "" {
		program.Version = version
	}
	bom.Metadata = &cyclonedx.Metadata{Component: &program}
	if epoch != "" {
		seconds, err := strconv.ParseInt(epoch, 10, 64)
		if err != nil {
			return nil, errors.New("SOURCE_DATE_EPOCH: want a number of seconds")
		}
		bom.Metadata.Timestamp = time.Unix(seconds, 0).UTC().Format(time.RFC3339)
	}

	// The standard library is in every binary, and in no list of modules. Those
	// who look for vulnerabilities know it as the module stdlib.
	release := strings.TrimPrefix(strings.Fields(info.GoVersion)[0], "go")
	components := []cyclonedx.Component{module(&debug.Module{Path: "stdlib", Version: release})}
	for _, m := range info.Deps {
		if m.Replace != nil {
			m = m.Replace
		}
		c := module(m)
		if err := hash(&c, m.Sum); err != nil {
			return nil, fmt.Errorf("%s: %w", m.Path, err)
		}
		components = append(components, c)
	}
	slices.SortFunc(components, func(a, b cyclonedx.Component) int { return cmp.Compare(a.BOMRef, b.BOMRef) })

	var refs []string
	for _, c := range components {
		refs = append(refs, c.BOMRef)
	}
	bom.Components = &components
	// What needs what among them is not in the binary: the program needs all.
	bom.Dependencies = &[]cyclonedx.Dependency{{Ref: program.BOMRef, Dependencies: &refs}}
	return bom, nil
}

// module describes a module, named by its package URL.
func module(m *debug.Module) cyclonedx.Component {
	url := "pkg:golang/" + strings.ToLower(m.Path)
	// What was built from a clone says (devel).
	version := m.Version
	if version == "(devel)" {
		version = ""
	}
	if version != "" {
		url += "@" + strings.ReplaceAll(version, "+", "%2B")
	}
	return cyclonedx.Component{
		Type: cyclonedx.ComponentTypeLibrary, BOMRef: url, Name: m.Path, Version: version, PackageURL: url,
	}
}

// hash adds the SHA-256 of a module's files, as go.sum has it.
func hash(c *cyclonedx.Component, sum string) error {
	encoded, ok := strings.CutPrefix(sum, "h1:")
	if !ok {
		return nil // a module from a folder has none
	}
	raw, err := base64.StdEncoding.DecodeString(encoded)
	if err != nil {
		return fmt.Errorf("its hash: %w", err)
	}
	c.Hashes = &[]cyclonedx.Hash{{Algorithm: cyclonedx.HashAlgoSHA256, Value: hex.EncodeToString(raw)}}
	return nil
}
