// Package rig serves the programs that measure: it starts servers on the loopback
// interface and ends them, reads what they use, and writes reports.
package rig

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"time"
)

// Cookie is the name of the cookie with the credential.
const Cookie = "ory_kratos_session"

// Main runs a program until it is done or interrupted, and ends the process with
// status 1 after an error.
func Main(name string, run func(ctx context.Context, args []string) error) {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:])
	stop()
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, name+":", err)
		os.Exit(1)
	}
}

// Rig is the servers of one run, and the folder with their files.
type Rig struct {
	// Dir holds what the servers write, each log among it.
	Dir string

	mu        sync.Mutex
	processes []*Process
}

// New makes an empty rig for the program of that name.
func New(name string) (*Rig, error) {
	dir, err := os.MkdirTemp("", "caddy-logout-"+name+"-")
	return &Rig{Dir: dir}, err
}

// Close ends every server. It deletes the folder, unless the caller keeps the logs.
func (r *Rig) Close(keep bool) {
	for _, p := range r.running() {
		p.End(syscall.SIGTERM)
	}
	if !keep {
		_ = os.RemoveAll(r.Dir)
	}
}

// running returns the processes that have not ended.
func (r *Rig) running() []*Process {
	r.mu.Lock()
	defer r.mu.Unlock()
	var running []*Process
	for _, p := range r.processes {
		if !p.Ended() {
			running = append(running, p)
		}
	}
	return running
}

// cpu returns the seconds of CPU that this program and all that it started have used:
// the kernel adds ended processes to the one that waited for them.
func (r *Rig) cpu() float64 {
	return statCPU("/proc/self/stat") + CPU(r.running()...)
}

// Watch begins to watch the machine. The function that it returns says how long
// ago that was, and what other programs have used since.
func (r *Rig) Watch() func() string {
	start, before := time.Now(), machineCPU()-r.cpu()
	return func() string {
		elapsed := time.Since(start)
		others := (machineCPU() - r.cpu() - before) / (elapsed.Seconds() * cores())
		return fmt.Sprintf("The run took %s. Other programs of this machine used %s %% of its processors meanwhile.",
			elapsed.Round(time.Second), strconv.FormatFloat(100*max(0, others), 'f', 0, 64))
	}
}

// FindCaddy returns the absolute path of the Caddy under measurement.
func FindCaddy(path string) (string, error) {
	if _, err := os.Stat(path); err != nil {
		return "", fmt.Errorf("%w (make build)", err)
	}
	return filepath.Abs(path)
}

// Serve begins to serve on an address, until the context is done. The channel then
// brings an error, or nil.
func Serve(ctx context.Context, addr string, server *http.Server) (<-chan error, error) {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	context.AfterFunc(ctx, func() { _ = server.Close() })
	done := make(chan error, 1)
	go func() {
		err := server.Serve(l)
		if errors.Is(err, http.ErrServerClosed) {
			err = nil
		}
		done <- err
	}()
	return done, nil
}
