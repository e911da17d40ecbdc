// This file starts servers, ends them, and reads what they cost.

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// ticks is how many units of /proc/<pid>/stat are a second: USER_HZ, which is
// 100 on every Linux that Go runs on.
const ticks = 100

// process is a server that the benchmark started.
type process struct {
	cmd  *exec.Cmd
	addr string
	done chan struct{}
}

// start starts a program and waits until it listens on addr.
func (b *bench) start(ctx context.Context, addr, program string, args ...string) (*process, error) {
	cmd := exec.CommandContext(ctx, program, args...)
	var output bytes.Buffer
	if strings.HasSuffix(program, "redis-server") {
		cmd.Stdout = &output
	}
	// A home of its own: what Caddy keeps belongs to no one else.
	cmd.Env = append(os.Environ(), "HOME="+b.dir, "XDG_CONFIG_HOME="+b.dir, "XDG_DATA_HOME="+b.dir)
	cmd.Dir = b.dir
	log, err := os.Create(filepath.Join(b.dir, fmt.Sprintf("%s-%d.log", filepath.Base(program), len(b.processes))))
	if err != nil {
		return nil, err
	}
	defer log.Close()
	cmd.Stderr = log
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting %s: %w", program, err)
	}
	p := &process{cmd: cmd, addr: addr, done: make(chan struct{})}
	b.processes = append(b.processes, p)
	go func() {
		_ = cmd.Wait() // it is ended by a signal
		close(p.done)
	}()
	if err := p.waitUntilUp(ctx); err != nil {
		said, _ := os.ReadFile(log.Name())
		return nil, fmt.Errorf("%s: %w\n%s%s", program, err, output.String(), said)
	}
	return p, nil
}

func (p *process) waitUntilUp(ctx context.Context) error {
	deadline := time.After(20 * time.Second)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-p.done:
			return errors.New("ended at once")
		case <-deadline:
			return errors.New("does not listen")
		case <-tick.C:
			if conn, err := new(net.Dialer).DialContext(ctx, "tcp", p.addr); err == nil {
				return conn.Close()
			}
		}
	}
}

// stop ends a process and waits for its end.
func (b *bench) stop(p *process) {
	if p == nil {
		return
	}
	select {
	case <-p.done:
		return
	default:
	}
	b.addOwn(cpuOf(p))
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.done:
	case <-time.After(5 * time.Second):
		_ = p.cmd.Process.Kill()
		<-p.done
	}
}

// cpuOf returns the seconds of CPU that processes have used, in user and in
// system mode.
func cpuOf(processes ...*process) float64 {
	total := 0.0
	for _, p := range processes {
		total += statCPU(filepath.Join("/proc", strconv.Itoa(p.cmd.Process.Pid), "stat"))
	}
	return total
}

// statCPU reads utime and stime, the 14th and 15th field of proc(5) stat.
func statCPU(name string) float64 {
	stat, err := os.ReadFile(name)
	if err != nil {
		return 0
	}
	// The second field is a name in parentheses, which may hold anything.
	_, rest, _ := strings.Cut(string(stat), ") ")
	fields := strings.Fields(rest)
	if len(fields) < 13 {
		return 0
	}
	user, _ := strconv.ParseFloat(fields[11], 64)
	system, _ := strconv.ParseFloat(fields[12], 64)
	return (user + system) / ticks
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

// own adds up what this program and all that it started have used.
type own struct {
	mu      sync.Mutex
	seconds float64
}

func (o *own) addOwn(seconds float64) {
	o.mu.Lock()
	o.seconds += seconds
	o.mu.Unlock()
}

// ownCPU is what this program and its processes, ended or not, have used.
func (b *bench) ownCPU() float64 {
	total := statCPU("/proc/self/stat")
	for _, p := range b.processes {
		select {
		case <-p.done:
		default:
			total += cpuOf(p)
		}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	return total + b.seconds
}

// freeAddr returns a loopback address that nobody listens on.
func freeAddr(ctx context.Context) (string, error) {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}
