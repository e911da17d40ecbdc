package rig

import (
	"bytes"
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

// startWithin is how long a server may take to be up, on a machine that is busy.
const startWithin = time.Minute

// ticks is how many units of /proc/<pid>/stat are a second: USER_HZ, which is
// 100 on every Linux that Go runs on.
const ticks = 100

// Program is a server to start.
type Program struct {
	Path string
	Args []string
	// Env is added to the environment.
	Env []string
	// Addr is the address that it listens on.
	Addr string
	// Dir is the folder that it runs in. It is its home too, which no other program
	// shares.
	Dir string
	// Log is the file for its output, which is appended.
	Log string
	// Up reports whether it is up; nil: it is up as soon as it listens.
	Up func() bool
}

func (p *Program) environ() []string {
	return append(append(os.Environ(), "HOME="+p.Dir, "XDG_CONFIG_HOME="+p.Dir, "XDG_DATA_HOME="+p.Dir), p.Env...)
}

// Process is a server that the rig has started.
type Process struct {
	// Addr is the address that it listens on.
	Addr string

	cmd  *exec.Cmd
	done chan struct{}
}

// Start starts a program and waits until it is up.
func (r *Rig) Start(ctx context.Context, program Program) (*Process, error) {
	log, err := os.OpenFile(program.Log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	cmd := exec.Command(program.Path, program.Args...)
	cmd.Dir, cmd.Env, cmd.Stdout, cmd.Stderr = program.Dir, program.environ(), log, log
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting %s: %w", program.Path, err)
	}
	p := &Process{Addr: program.Addr, cmd: cmd, done: make(chan struct{})}
	r.mu.Lock()
	r.processes = append(r.processes, p)
	r.mu.Unlock()
	go func() {
		_ = cmd.Wait() // it is ended by a signal
		close(p.done)
	}()
	up := program.Up
	if up == nil {
		up = func() bool { return listens(ctx, program.Addr) }
	}
	if err := p.Until(ctx, up); err != nil {
		return nil, fmt.Errorf("%s %w; its log ends with:\n%s", filepath.Base(program.Path), err, tail(program.Log))
	}
	return p, nil
}

// unique numbers a name.
func (r *Rig) unique(name string) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return fmt.Sprintf("%s-%d", name, len(r.processes))
}

// Role starts this very program again as one of its servers: with the name of the
// role, the address to listen on, and more arguments.
func (r *Rig) Role(ctx context.Context, name string, args ...string) (*Process, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	addr, err := FreeAddr(ctx)
	if err != nil {
		return nil, err
	}
	return r.Start(ctx, Program{
		Path: self, Args: append([]string{name, addr}, args...), Addr: addr, Dir: r.Dir,
		Log: filepath.Join(r.Dir, r.unique(name)+".log"),
	})
}

func listens(ctx context.Context, addr string) bool {
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", addr)
	return err == nil && conn.Close() == nil
}

// tail returns the last lines of a file.
func tail(name string) string {
	text, _ := os.ReadFile(name)
	return string(text[max(0, len(text)-2000):])
}

// Until waits for a condition, for the end of the process, or for a minute.
func (p *Process) Until(ctx context.Context, condition func() bool) error {
	deadline := time.After(startWithin)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !condition() {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-p.done:
			return errors.New("ended at once")
		case <-deadline:
			return fmt.Errorf("is not up after %v", startWithin)
		case <-tick.C:
		}
	}
	return nil
}

// Signal sends a signal.
func (p *Process) Signal(signal os.Signal) error { return p.cmd.Process.Signal(signal) }

// End ends the process with a signal and waits for its end.
func (p *Process) End(how os.Signal) {
	_ = p.Signal(how)
	select {
	case <-p.done:
	case <-time.After(startWithin / 2):
		_ = p.cmd.Process.Kill()
		<-p.done
	}
}

// Stop ends the process.
func (p *Process) Stop() { p.End(syscall.SIGTERM) }

// Ended reports whether the process has ended.
func (p *Process) Ended() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

// Proc names a file or folder of the process below /proc.
func (p *Process) Proc(name string) string {
	return filepath.Join("/proc", strconv.Itoa(p.cmd.Process.Pid), name)
}

// CPU returns the seconds of CPU that processes have used, in user and in system
// mode.
func CPU(processes ...*Process) float64 {
	total := 0.0
	for _, p := range processes {
		total += statCPU(p.Proc("stat"))
	}
	return total
}

// statCPU reads utime, stime, cutime and cstime, the 14th to 17th field of proc(5)
// stat: what the process has used, and those that it started and that have ended.
func statCPU(name string) float64 {
	stat, err := os.ReadFile(name)
	if err != nil {
		return 0
	}
	// The second field is a name in parentheses, which may hold anything.
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
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

// machineCPU returns the seconds of CPU that the whole machine has used.
func machineCPU() float64 {
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

// FreeAddr returns a free loopback address. The system gives its port to no
// connection by itself: a killed server finds it free when it starts again.
func FreeAddr(ctx context.Context) (string, error) {
	for range 100 {
		addr := net.JoinHostPort("127.0.0.1", strconv.Itoa(12_000+rand.IntN(20_000)))
		l, err := new(net.ListenConfig).Listen(ctx, "tcp", addr)
		if err == nil {
			return addr, l.Close()
		}
	}
	return "", errors.New("no free port below 32000")
}
