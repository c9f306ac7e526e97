package pgtest

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"maps"
	mathrand "math/rand/v2"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/jackc/pgx/v5/pgxpool"
)

// SuperuserRole is the name of the bootstrap superuser of every server.
const SuperuserRole = "postgres"

// defaultSettings are for tests: fast and small. Whatever decides about locks and visibility keeps PostgreSQL's default.
var defaultSettings = map[string]string{
	"listen_addresses":        "127.0.0.1",
	"unix_socket_directories": "",
	"max_connections":         "300",
	"shared_buffers":          "64MB",
	"fsync":                   "off", // the operating system does not crash in our tests, only the server
	"logging_collector":       "off",
	"log_line_prefix":         "%m [%p] db=%d app=%a ",
	"log_lock_waits":          "on",
}

// Options choose what Start starts.
type Options struct {
	Major    int               // 0 is any supported major
	Settings map[string]string // server settings beside or in place of the defaults

	// inMemory lets the files be in memory, where the machine has room: tests make hundreds of databases and drop them again.
	inMemory bool
}

// Server is a running throwaway PostgreSQL server that listens on the loopback interface only. It and its files vanish
// with Stop, and also when this process ends in any other way, kill -9 included.
type Server struct {
	Installation
	Host      string
	Port      int
	Password  string        // of the superuser and of every database owner
	Superuser *pgxpool.Pool // into the database postgres

	directory string
	stopOnce  sync.Once
	stopErr   error

	mu       sync.Mutex // one command at a time
	watchdog *exec.Cmd
	commands io.WriteCloser
	answers  <-chan string
	broken   error // why no further command can be given
}

// Start makes a new cluster and starts a server on it. When it fails, nothing is left behind, and the error holds the
// end of the server's log.
func Start(ctx context.Context, options Options) (_ *Server, err error) {
	installation, err := Find(ctx, options.Major)
	if err != nil {
		return nil, err
	}
	server := &Server{
		Installation: installation,
		Host:         "127.0.0.1",
		Password:     rand.Text(),
		directory:    newDirectory(os.TempDir()),
	}
	if memory := memoryDirectory(); options.inMemory && memory != "" {
		server.directory = newDirectory(memory)
	}
	if err := server.startWatchdog(); err != nil {
		return nil, fmt.Errorf("start the watchdog of PostgreSQL %s: %w", server.Version, err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, server.Stop())
		}
	}()

	if err := server.command(ctx, "init"); err != nil {
		return nil, fmt.Errorf("initdb of PostgreSQL %s in %s: %w", server.Version, server.directory, err)
	}
	if err := server.configure(options.Settings); err != nil {
		return nil, err
	}
	if err := server.listen(ctx); err != nil {
		return nil, fmt.Errorf("start PostgreSQL %s: %w", server.Version, err)
	}
	server.Superuser, err = pgxpool.New(ctx, server.ConnString("postgres", SuperuserRole))
	if err != nil {
		return nil, err
	}
	if err := server.Superuser.Ping(ctx); err != nil {
		return nil, fmt.Errorf("connect to the new PostgreSQL %s: %w", server.Version, err)
	}
	return server, nil
}

func newDirectory(parent string) string {
	return filepath.Join(parent, "pgtest-"+strings.ToLower(rand.Text()[:10]))
}

// Address is the host and port that the server listens on.
func (s *Server) Address() string {
	return net.JoinHostPort(s.Host, strconv.Itoa(s.Port))
}

// ConnString is the URL of a database of this server for a role that the server was given by this package.
func (s *Server) ConnString(database, user string) string {
	target := url.URL{
		Scheme:   "postgres",
		User:     url.UserPassword(user, s.Password),
		Host:     s.Address(),
		Path:     "/" + database,
		RawQuery: "sslmode=disable",
	}
	return target.String()
}

// Restart crashes the server (every connection breaks, nothing is checkpointed) and starts it again on the same port
// and data. It returns when the server has recovered. Pools other than Superuser still hold their broken connections:
// see pgxpool.Pool.Reset.
func (s *Server) Restart(ctx context.Context) error {
	if err := s.command(ctx, "crash"); err != nil {
		return fmt.Errorf("crash the server: %w", err)
	}
	if err := s.command(ctx, "start "+strconv.Itoa(s.Port)); err != nil {
		return fmt.Errorf("start the server again: %w", err)
	}
	s.Superuser.Reset()
	return nil
}

// Log is what the server has logged so far, or "" once it is stopped.
func (s *Server) Log() string {
	content, err := os.ReadFile(filepath.Join(s.directory, "log"))
	if err != nil {
		return "" // stopped: the directory is gone
	}
	return string(content)
}

// Stop ends the server at once and removes its files. Later calls return what the first one did.
func (s *Server) Stop() error {
	s.stopOnce.Do(func() {
		if s.Superuser != nil {
			s.Superuser.Close()
		}
		// The watchdog cleans up when the pipe ends; its exit status is that of rm.
		s.stopErr = errors.Join(s.commands.Close(), s.watchdog.Wait(), os.RemoveAll(s.directory))
	})
	return s.stopErr
}

func (s *Server) configure(settings map[string]string) error {
	all := maps.Clone(defaultSettings)
	maps.Copy(all, settings)
	return s.appendSettings(all)
}

// appendSettings sets what wins over whatever the configuration file says before.
func (s *Server) appendSettings(settings map[string]string) error {
	file, err := os.OpenFile(filepath.Join(s.directory, "data", "postgresql.conf"), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	quoted := strings.NewReplacer(`\`, `\\`, `'`, `''`)
	for _, name := range slices.Sorted(maps.Keys(settings)) {
		if _, err := fmt.Fprintf(file, "%s = '%s'\n", name, quoted.Replace(settings[name])); err != nil {
			return errors.Join(err, file.Close())
		}
	}
	return file.Close()
}

// listen starts the server on a free port. Another process can take the port between our look and the server's bind;
// then the next one is tried.
func (s *Server) listen(ctx context.Context) error {
	var err error
	for range 10 {
		if s.Port, err = freePort(); err != nil {
			return err
		}
		before := len(s.Log())
		if err = s.command(ctx, "start "+strconv.Itoa(s.Port)); err == nil {
			return nil
		}
		if log := s.Log(); len(log) < before || !strings.Contains(log[before:], "Address already in use") {
			return err
		}
	}
	return err
}

// freePort picks a port below the ranges from which Linux (32768) and macOS (49152) take the ports of outgoing
// connections: a client that reconnects while the server restarts must not be given the server's own port.
func freePort() (int, error) {
	var err error
	for range 100 {
		port := 15000 + mathrand.IntN(17000)
		var listener net.Listener
		if listener, err = net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port))); err == nil {
			return port, listener.Close()
		}
	}
	return 0, fmt.Errorf("no free port on the loopback interface: %w", err)
}

// tail is the last lines of a text.
func tail(text string, count int) string {
	lines := strings.Split(strings.TrimRight(text, "\n"), "\n")
	return strings.Join(lines[max(0, len(lines)-count):], "\n")
}
