package pg

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgconn/ctxwatch"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/stagedpg/terraform-provider-postgres/internal/finding"
)

// Settings say how to reach the database. What is left empty comes from libpq's environment variables, the
// service file and ~/.pgpass, which pgx reads (PostgreSQL documentation, 34.15 to 34.17).
type Settings struct {
	ConnectionString string
	Host             string
	Port             int64
	Database         string
	Username         string
	Password         string
	// PasswordCommand is run before each new connection; its standard output, without the last line end, is the
	// password. Tokens of cloud services live for minutes, so none is kept.
	PasswordCommand []string
	SSLMode         string
	// SSLRootCert, SSLCert and SSLKey are paths, or PEM text itself.
	SSLRootCert string
	SSLCert     string
	SSLKey      string
	// Role is set for each transaction by SET LOCAL ROLE, so that it never leaks to another client of a pooler.
	Role            string
	ApplicationName string
	ConnectTimeout  time.Duration
	MaxConnections  int32
}

// idleTimeout closes connections that a plan or apply no longer needs, so that a provider that waits for other
// resources does not hold sessions of a busy server.
const idleTimeout = 30 * time.Second

// cancelGrace is how long a cancelled statement has to end by itself before its connection is given up.
const cancelGrace = 3 * time.Second

// poolConfig turns the settings into pgx's terms.
func (s Settings) poolConfig() (*pgxpool.Config, error) {
	dsn, cleanUp, err := s.dsn()
	if err != nil {
		return nil, err
	}
	defer cleanUp()
	config, err := pgxpool.ParseConfig(dsn)
	if err != nil {
		return nil, fmt.Errorf("read the connection settings: %w", err)
	}
	if s.ApplicationName != "" {
		config.ConnConfig.RuntimeParams["application_name"] = s.ApplicationName
	}
	if s.ConnectTimeout > 0 {
		config.ConnConfig.ConnectTimeout = s.ConnectTimeout
	}
	if s.MaxConnections > 0 {
		config.MaxConns = s.MaxConnections
	}
	config.MinConns = 0
	config.MaxConnIdleTime = idleTimeout
	config.HealthCheckPeriod = idleTimeout / 2
	// No named prepared statements: a pooler in transaction mode hands the next statement to another session.
	config.ConnConfig.DefaultQueryExecMode = pgx.QueryExecModeExec
	config.ConnConfig.StatementCacheCapacity = 0
	config.ConnConfig.DescriptionCacheCapacity = 0
	// A cancelled context cancels the statement on the server at once; the default would only close the socket.
	config.ConnConfig.BuildContextWatcherHandler = func(conn *pgconn.PgConn) ctxwatch.Handler {
		return &pgconn.CancelRequestContextWatcherHandler{Conn: conn, DeadlineDelay: cancelGrace}
	}
	if len(s.PasswordCommand) > 0 {
		config.BeforeConnect = func(ctx context.Context, c *pgx.ConnConfig) error {
			password, err := s.runPasswordCommand(ctx)
			c.Password = password
			return err
		}
	}
	return config, nil
}

// dsn renders the settings as a key=value connection string. Inline PEM goes through files that exist only while
// pgx reads them, so that libpq's rules for sslmode stay the only ones.
func (s Settings) dsn() (dsn string, cleanUp func(), err error) {
	cleanUp = func() {}
	if s.ConnectionString != "" {
		return s.ConnectionString, cleanUp, nil
	}
	files := map[string]string{"sslrootcert": s.SSLRootCert, "sslcert": s.SSLCert, "sslkey": s.SSLKey}
	var dir string
	for name, value := range files {
		if !strings.Contains(value, "-----BEGIN ") {
			continue
		}
		if dir == "" {
			if dir, err = os.MkdirTemp("", "terraform-provider-postgres-"); err != nil {
				return "", cleanUp, fmt.Errorf("keep inline PEM for the driver: %w", err)
			}
			cleanUp = func() { _ = os.RemoveAll(dir) } // Nothing to do about a leftover in the temporary folder.
		}
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(value), 0o600); err != nil {
			cleanUp()
			return "", func() {}, fmt.Errorf("keep inline PEM for the driver: %w", err)
		}
		files[name] = path
	}
	var b strings.Builder
	add := func(key, value string) {
		if value != "" {
			fmt.Fprintf(&b, "%s='%s' ", key, strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(value))
		}
	}
	add("host", s.Host)
	if s.Port != 0 {
		add("port", strconv.FormatInt(s.Port, 10))
	}
	add("dbname", s.Database)
	add("user", s.Username)
	add("password", s.Password)
	add("sslmode", s.SSLMode)
	add("sslrootcert", files["sslrootcert"])
	add("sslcert", files["sslcert"])
	add("sslkey", files["sslkey"])
	return b.String(), cleanUp, nil
}

func (s Settings) runPasswordCommand(ctx context.Context) (string, error) {
	var stdout, stderr bytes.Buffer
	command := exec.CommandContext(ctx, s.PasswordCommand[0], s.PasswordCommand[1:]...)
	command.Stdout, command.Stderr = &stdout, &stderr
	if err := command.Run(); err != nil {
		return "", finding.New(fmt.Sprintf("password_command %q failed", s.PasswordCommand[0]),
			fmt.Sprintf("It ended with %v and said:\n\n%s", err, finding.Indent(stderr.String()))).At("password_command").Because(err)
	}
	password := strings.TrimRight(stdout.String(), "\r\n")
	if password == "" {
		return "", finding.New(fmt.Sprintf("password_command %q printed no password", s.PasswordCommand[0]),
			"Its standard output, without the last line end, is used as the password.").At("password_command")
	}
	return password, nil
}

// Validate reports what can be known to be wrong without a connection.
func (s Settings) Validate() error {
	_, err := s.poolConfig()
	return err
}
