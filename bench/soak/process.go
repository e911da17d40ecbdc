//go:build !windows

// This file starts processes, ends them, and reads what they use.

package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// ticks is how many units of /proc/<pid>/stat are a second: USER_HZ, which is
// 100 on every Linux that Go runs on.
const ticks = 100

// process is a server that this program started.
type process struct {
	cmd  *exec.Cmd
	done chan struct{}
}

// startProcess starts a program whose output is added to a file.
func startProcess(dir, log string, env []string, program string, args ...string) (*process, error) {
	file, err := os.OpenFile(log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	cmd := exec.Command(program, args...)
	cmd.Dir, cmd.Env, cmd.Stdout, cmd.Stderr = dir, env, file, file
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting %s: %w", program, err)
	}
	p := &process{cmd: cmd, done: make(chan struct{})}
	go func() {
		_ = cmd.Wait() // it is ended by a signal
		close(p.done)
	}()
	return p, nil
}

// until waits for a condition, or for the end of the process.
func (p *process) until(ctx context.Context, within time.Duration, up func() bool) error {
	deadline := time.After(within)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !up() {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-p.done:
			return errors.New("ended at once")
		case <-deadline:
			return fmt.Errorf("is not up after %v", within)
		case <-tick.C:
		}
	}
	return nil
}

// end ends a process and waits for it.
func (p *process) end(how syscall.Signal) {
	_ = p.cmd.Process.Signal(how)
	select {
	case <-p.done:
	case <-time.After(30 * time.Second):
		_ = p.cmd.Process.Kill()
		<-p.done
	}
}

func (p *process) ended() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

func (p *process) proc(name string) string {
	return filepath.Join("/proc", strconv.Itoa(p.cmd.Process.Pid), name)
}

// statCPU reads utime, stime, cutime and cstime, the 14th to 17th field of proc(5)
// stat: what the process has used, and those that it started and that have ended.
func statCPU(name string) float64 {
	stat, err := os.ReadFile(name)
	if err != nil {
		return 0
	}
	// The second field is a name in parentheses, which may hold anything.
	_, rest, _ := strings.Cut(string(stat), ") ")
	fields := strings.Fields(rest)
	if len(fields) < 15 {
		return 0
	}
	total := 0.0
	for _, field := range fields[11:15] {
		n, _ := strconv.ParseFloat(field, 64)
		total += n / ticks
	}
	return total
}

// machineBusy returns the seconds of CPU that the whole machine has used.
func machineBusy() float64 {
	stat, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0
	}
	line, _, _ := strings.Cut(string(stat), "\n")
	total := 0.0
	for i, field := range strings.Fields(line)[1:] {
		// All but idle and waiting for disks; guests are in the first two.
		if n, err := strconv.ParseFloat(field, 64); err == nil && i != 3 && i != 4 && i < 8 {
			total += n / ticks
		}
	}
	return total
}

func cores() float64 { return float64(runtime.NumCPU()) }

// freeAddr returns a loopback address that nobody listens on, of a port that the
// system gives to no connection by itself: a server that was killed finds it free
// when it comes back.
func freeAddr(ctx context.Context) (string, error) {
	for range 100 {
		addr := net.JoinHostPort("127.0.0.1", strconv.Itoa(12_000+rand.IntN(20_000)))
		l, err := new(net.ListenConfig).Listen(ctx, "tcp", addr)
		if err == nil {
			return addr, l.Close()
		}
	}
	return "", errors.New("no free port below 32000")
}
