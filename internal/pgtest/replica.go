package pgtest

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// replicaTimeout bounds each wait for a standby to do what it was asked for.
const replicaTimeout = time.Minute

// ReplicaOptions choose what StartReplica starts.
type ReplicaOptions struct {
	// Name is the standby's application_name, as the primary shows it; "" is "standby".
	Name string
	// Slot is a physical replication slot that the primary keeps WAL in for the standby, or "". It is made with the
	// standby and stays until the standby stops: a standby that was killed leaves it behind.
	Slot string
	// Synchronous makes commits on the primary wait for this standby, until it stops.
	Synchronous bool
	// Settings are server settings beside those of the primary, such as recovery_min_apply_delay.
	Settings map[string]string
}

// Replica is a streaming standby of a server. It and its files vanish as those of the server do.
type Replica struct {
	*Server
	Primary *Server
	Name    string
	slot    string
	sync    bool
}

// StartReplica makes a standby from a copy of the server and returns when it streams.
func (s *Server) StartReplica(ctx context.Context, options ReplicaOptions) (_ *Replica, err error) {
	if options.Name == "" {
		options.Name = "standby"
	}
	replica := &Replica{
		Server: &Server{
			Installation: s.Installation,
			Host:         s.Host,
			Password:     s.Password,
			directory:    newDirectory(filepath.Dir(s.directory)),
		},
		Primary: s,
		Name:    options.Name,
		slot:    options.Slot,
		sync:    options.Synchronous,
	}
	if err := replica.startWatchdog(); err != nil {
		return nil, fmt.Errorf("start the watchdog of standby %s: %w", options.Name, err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, replica.Stop())
		}
	}()
	if options.Slot != "" {
		if _, err := s.Superuser.Exec(ctx, `SELECT pg_create_physical_replication_slot($1, true)`, options.Slot); err != nil {
			return nil, err
		}
	}

	// The session keeps the primary in backup mode, and its temporary slot keeps the WAL that the copy needs.
	session, err := pgx.Connect(ctx, s.ConnString("postgres", SuperuserRole))
	if err != nil {
		return nil, err
	}
	defer func() { _ = session.Close(ctx) }() // only its end matters
	if err := replica.copyFrom(ctx, session); err != nil {
		return nil, fmt.Errorf("copy the primary: %w", err)
	}
	if err := replica.appendSettings(replica.settings(options.Settings)); err != nil {
		return nil, err
	}
	if err := replica.listen(ctx); err != nil {
		return nil, fmt.Errorf("start standby %s: %w", options.Name, err)
	}
	if replica.Superuser, err = pgxpool.New(ctx, replica.ConnString("postgres", SuperuserRole)); err != nil {
		return nil, err
	}
	if err := replica.awaitState(ctx, "streaming", "async"); err != nil {
		return nil, err
	}
	if options.Synchronous {
		if err := s.setSynchronousStandby(ctx, options.Name); err != nil {
			return nil, err
		}
		if err := replica.awaitState(ctx, "streaming", "sync"); err != nil {
			return nil, err
		}
	}
	return replica, nil
}

// copyFrom takes a base backup (PostgreSQL documentation, 26.3.3). pg_basebackup would do the same, but not every
// package of the server has it.
func (r *Replica) copyFrom(ctx context.Context, session *pgx.Conn) error {
	start, stop := "pg_backup_start($1, true)", "pg_backup_stop(false)"
	if r.Major < 15 {
		start, stop = "pg_start_backup($1, true, false)", "pg_stop_backup(false, false)"
	}
	slot := "copy_" + strings.ToLower(rand.Text()[:12])
	if _, err := session.Exec(ctx, `SELECT pg_create_physical_replication_slot($1, true, true)`, slot); err != nil {
		return err
	}
	if _, err := session.Exec(ctx, `SELECT `+start, r.Name); err != nil {
		return err
	}
	if err := r.command(ctx, "copy "+r.Primary.directory); err != nil {
		return err
	}
	var label string
	if err := session.QueryRow(ctx, `SELECT labelfile FROM `+stop).Scan(&label); err != nil {
		return err
	}
	file, err := os.OpenFile(filepath.Join(r.directory, "data", "backup_label"), os.O_WRONLY|os.O_TRUNC, 0)
	if err != nil {
		return err
	}
	_, err = file.WriteString(label)
	return errors.Join(err, file.Close())
}

// settings are those of a standby. It asks for WAL often, and says often how far it is, so that tests need not wait.
func (r *Replica) settings(more map[string]string) map[string]string {
	quoted := func(value string) string {
		return "'" + strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(value) + "'"
	}
	all := map[string]string{
		"primary_conninfo": fmt.Sprintf("host=%s port=%s user=%s password=%s application_name=%s sslmode=disable gssencmode=disable",
			r.Primary.Host, strconv.Itoa(r.Primary.Port), SuperuserRole, quoted(r.Password), quoted(r.Name)),
		"primary_slot_name":            r.slot,
		"hot_standby":                  "on",
		"wal_receiver_status_interval": "1s",
		"wal_retrieve_retry_interval":  "200ms",
	}
	maps.Copy(all, more)
	return all
}

// PauseReplay makes the standby receive WAL without replaying it, and returns when it has stopped to replay.
func (r *Replica) PauseReplay(ctx context.Context) error {
	if _, err := r.Superuser.Exec(ctx, `SELECT pg_wal_replay_pause()`); err != nil {
		return err
	}
	return r.await(ctx, r.Server, "replay to pause", `SELECT pg_get_wal_replay_pause_state() = 'paused'`)
}

// ResumeReplay lets the standby replay again. It does not wait for it to catch up.
func (r *Replica) ResumeReplay(ctx context.Context) error {
	_, err := r.Superuser.Exec(ctx, `SELECT pg_wal_replay_resume()`)
	return err
}

// Freeze stops the process that receives WAL, so that the standby neither receives nor answers, as one behind a network
// that swallows packets. The primary believes in it for wal_sender_timeout, a minute.
func (r *Replica) Freeze(ctx context.Context) error {
	var receiver int
	if err := r.Superuser.QueryRow(ctx, `SELECT pid FROM pg_stat_wal_receiver`).Scan(&receiver); err != nil {
		return fmt.Errorf("find the process that receives WAL: %w", err)
	}
	return r.command(ctx, "freeze "+strconv.Itoa(receiver))
}

// Thaw lets the frozen process go on.
func (r *Replica) Thaw(ctx context.Context) error { return r.command(ctx, "thaw") }

// Kill ends the standby as a crash does, without a word to the primary beyond its closed connection. Restart brings it
// back.
func (r *Replica) Kill(ctx context.Context) error {
	if err := r.command(ctx, "crash"); err != nil {
		return err
	}
	r.Superuser.Reset()
	return nil
}

// Stop ends the standby and removes its files and what the primary keeps for it. Later calls return what the first did.
func (r *Replica) Stop() error {
	ctx, cancel := context.WithTimeout(context.Background(), replicaTimeout)
	defer cancel()
	var errs []error
	if r.sync {
		// First, or every commit on the primary would wait for ever.
		r.sync = false
		errs = append(errs, r.Primary.setSynchronousStandby(ctx, ""))
	}
	errs = append(errs, r.Server.Stop())
	if slot := r.slot; slot != "" {
		r.slot = ""
		errs = append(errs, r.dropSlot(ctx, slot))
	}
	return errors.Join(errs...)
}

// dropSlot drops the slot once the primary has noticed that nobody uses it.
func (r *Replica) dropSlot(ctx context.Context, slot string) error {
	if err := r.await(ctx, r.Primary, "the slot to be free", fmt.Sprintf(
		`SELECT NOT EXISTS (SELECT FROM pg_replication_slots WHERE slot_name = '%s' AND active)`, slot)); err != nil {
		return err
	}
	_, err := r.Primary.Superuser.Exec(ctx,
		`SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE slot_name = $1`, slot)
	return err
}

// setSynchronousStandby makes commits wait for the standby of that name, or for none.
func (s *Server) setSynchronousStandby(ctx context.Context, name string) error {
	if name != "" {
		name = quote(name)
	}
	// A utility statement takes no parameters.
	for _, sql := range []string{
		`ALTER SYSTEM SET synchronous_standby_names = '` + strings.ReplaceAll(name, "'", "''") + `'`,
		`SELECT pg_reload_conf()`,
	} {
		if _, err := s.Superuser.Exec(ctx, sql); err != nil {
			return err
		}
	}
	return nil
}

func (r *Replica) awaitState(ctx context.Context, state, sync string) error {
	return r.await(ctx, r.Primary, "standby "+r.Name+" to be "+state+" and "+sync, fmt.Sprintf(
		`SELECT EXISTS (SELECT FROM pg_stat_replication WHERE application_name = '%s' AND state = '%s' AND sync_state = '%s')`,
		strings.ReplaceAll(r.Name, "'", "''"), state, sync))
}

// await asks a server until the answer is true.
func (r *Replica) await(ctx context.Context, server *Server, what, sql string) error {
	ctx, cancel := context.WithTimeout(ctx, replicaTimeout)
	defer cancel()
	for {
		var holds bool
		err := server.Superuser.QueryRow(ctx, sql).Scan(&holds)
		if err == nil && holds {
			return nil
		}
		if err == nil {
			select {
			case <-ctx.Done():
				err = ctx.Err()
			case <-time.After(20 * time.Millisecond):
			}
		}
		if err != nil {
			return fmt.Errorf("wait for %s: %w; the standby's log ends with\n%s", what, err, tail(r.Log(), 10))
		}
	}
}

// StartReplica starts a standby of a server for one test.
func StartReplica(t testing.TB, primary *Server, options ReplicaOptions) *Replica {
	t.Helper()
	replica, err := primary.StartReplica(t.Context(), options)
	if err != nil {
		t.Fatalf("this test needs a standby: %v", err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("log of standby %s:\n%s", replica.Name, tail(replica.Log(), 30))
		}
		if err := replica.Stop(); err != nil {
			t.Errorf("stop the standby: %v", err)
		}
	})
	return replica
}
