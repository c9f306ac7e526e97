package pgtest_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/stagedpg/terraform-provider-postgres/internal/pgtest"
)

func TestProxyCuts(t *testing.T) {
	tests := map[string]struct {
		cut       func(proxy *pgtest.Proxy) <-chan struct{}
		mode      pgx.QueryExecMode
		committed int // rows in the table afterwards, of two transactions of one row each
	}{
		"before the first commit": {
			func(p *pgtest.Proxy) <-chan struct{} { return p.CutBefore(pgtest.Containing("COMMIT"), 1) },
			pgx.QueryExecModeExec, 0,
		},
		"after the first commit": {
			func(p *pgtest.Proxy) <-chan struct{} { return p.CutAfter(pgtest.Containing("commit"), 1) },
			pgx.QueryExecModeExec, 1,
		},
		"before the second commit": {
			func(p *pgtest.Proxy) <-chan struct{} { return p.CutBefore(pgtest.Containing("commit"), 2) },
			pgx.QueryExecModeExec, 1,
		},
		"after the second commit": {
			func(p *pgtest.Proxy) <-chan struct{} { return p.CutAfter(pgtest.Containing("commit"), 2) },
			pgx.QueryExecModeExec, 2,
		},
		"before a statement with parameters": {
			func(p *pgtest.Proxy) <-chan struct{} { return p.CutBefore(pgtest.Containing("insert into"), 2) },
			pgx.QueryExecModeExec, 1,
		},
		"after a statement with parameters": {
			func(p *pgtest.Proxy) <-chan struct{} { return p.CutAfter(pgtest.Containing("insert into"), 2) },
			pgx.QueryExecModeExec, 1,
		},
		"after the second run of a prepared statement": {
			func(p *pgtest.Proxy) <-chan struct{} { return p.CutAfter(pgtest.Containing("insert into"), 2) },
			pgx.QueryExecModeCacheStatement, 1,
		},
		"after the second run of a described statement": {
			func(p *pgtest.Proxy) <-chan struct{} { return p.CutAfter(pgtest.Containing("insert into"), 2) },
			pgx.QueryExecModeDescribeExec, 1,
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			database := pgtest.NewDatabase(t)
			database.Exec(t, "CREATE TABLE written (n int)")
			proxy, connString := pgtest.NewProxy(t, database)
			conn := connect(t, connString, test.mode)
			cut := test.cut(proxy)

			var err error
			for n := 0; n < 2 && err == nil; n++ {
				err = pgx.BeginFunc(t.Context(), conn, func(tx pgx.Tx) error {
					_, err := tx.Exec(t.Context(), "INSERT INTO written VALUES ($1)", n)
					return err
				})
			}
			if err == nil {
				t.Error("the client did not notice the cut")
			}
			<-cut
			// A backend whose client is gone rolls back by itself; it is done when it no longer shows.
			eventually(t, func() bool {
				return pgtest.QueryRow[int](t, database,
					"SELECT count(*)::int FROM pg_stat_activity WHERE application_name = 'proxied'") == 0
			})
			if rows := pgtest.QueryRow[int](t, database, "SELECT count(*)::int FROM written"); rows != test.committed {
				t.Errorf("committed rows = %d, want %d", rows, test.committed)
			}
			if err := connect(t, connString, test.mode).Ping(t.Context()); err != nil {
				t.Errorf("a new connection after the cut: %v", err)
			}
		})
	}
}

func TestProxyStallHoldsTrafficBack(t *testing.T) {
	proxy, connString := pgtest.NewProxy(t, pgtest.NewDatabase(t))
	conn := connect(t, connString, pgx.QueryExecModeExec)
	proxy.Stall()
	answer := make(chan error, 1)
	go func() { answer <- conn.Ping(t.Context()) }()
	select {
	case err := <-answer:
		t.Errorf("answer through a stalled proxy: %v", err)
	case <-time.After(50 * time.Millisecond): // a proxy that does not stall answers in far less
	}
	proxy.Resume()
	if err := <-answer; err != nil {
		t.Errorf("after Resume: %v", err)
	}

	proxy.Stall()
	go func() { answer <- conn.Ping(t.Context()) }()
	proxy.CutAll()
	if err := <-answer; err == nil {
		t.Error("answer on a connection that was cut")
	}
}

func TestProxyPassesCancelRequestsOn(t *testing.T) {
	_, connString := pgtest.NewProxy(t, pgtest.NewDatabase(t))
	conn := connect(t, connString, pgx.QueryExecModeExec)
	result := make(chan error, 1)
	go func() {
		_, err := conn.Exec(t.Context(), "SELECT pg_sleep(60)")
		result <- err
	}()
	// The request may come before the query and then does nothing, so it is repeated.
	for {
		if err := conn.PgConn().CancelRequest(t.Context()); err != nil {
			t.Fatal(err)
		}
		select {
		case err := <-result:
			if err == nil || !strings.Contains(err.Error(), "57014") {
				t.Errorf("error = %v, want SQLSTATE 57014", err)
			}
			return
		case <-time.After(10 * time.Millisecond):
		}
	}
}

func TestProxyAnswersTLSRequestsAsTheServerDoes(t *testing.T) {
	_, connString := pgtest.NewProxy(t, pgtest.NewDatabase(t))
	preferred := connect(t, strings.Replace(connString, "sslmode=disable", "sslmode=prefer", 1), pgx.QueryExecModeExec)
	if err := preferred.Ping(t.Context()); err != nil {
		t.Error(err)
	}
	_, err := pgx.Connect(t.Context(), strings.Replace(connString, "sslmode=disable", "sslmode=require", 1))
	if err == nil || !strings.Contains(err.Error(), "server refused TLS connection") {
		t.Errorf("error = %v, want the server's refusal", err)
	}
}

func TestProxyEndsWithItsContext(t *testing.T) {
	database := pgtest.NewDatabase(t)
	ctx, cancel := context.WithCancelCause(t.Context())
	proxy, err := pgtest.StartProxy(ctx, database.Server.Address())
	if err != nil {
		t.Fatal(err)
	}
	connString, err := proxy.ConnString(database.ConnString())
	if err != nil {
		t.Fatal(err)
	}
	conn := connect(t, connString, pgx.QueryExecModeExec)
	cancel(errors.New("over"))
	eventually(t, func() bool { return conn.Ping(t.Context()) != nil })
	proxy.Close()
	if _, err := pgx.Connect(t.Context(), connString); err == nil {
		t.Error("the proxy still takes connections")
	}
}

func connect(t *testing.T, connString string, mode pgx.QueryExecMode) *pgx.Conn {
	t.Helper()
	config, err := pgx.ParseConfig(connString)
	if err != nil {
		t.Fatal(err)
	}
	config.DefaultQueryExecMode = mode
	config.RuntimeParams["application_name"] = "proxied"
	conn, err := pgx.ConnectConfig(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(context.Background()) })
	return conn
}
