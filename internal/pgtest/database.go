package pgtest

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// Database is a database of its own for one test. It belongs to a role that is made with it and has no other rights, so
// that what works as Owner works for a plain table owner.
type Database struct {
	Server    *Server
	Name      string
	OwnerRole string
	Owner     *pgxpool.Pool
	Super     *pgxpool.Pool // as the superuser, for setting up and for looking at things
}

// CreateDatabase makes an empty database and its owner.
func (s *Server) CreateDatabase(ctx context.Context) (_ *Database, err error) {
	name := "test_" + strings.ToLower(rand.Text()[:12])
	database := &Database{Server: s, Name: name, OwnerRole: name + "_owner"}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("create database %s: %w", name, err), database.Drop(context.WithoutCancel(ctx)))
		}
	}()

	owner, quoted := quote(database.OwnerRole), quote(name)
	for _, statement := range []string{
		// Utility statements take no parameters; the password is made of letters and digits.
		fmt.Sprintf("CREATE ROLE %s LOGIN PASSWORD '%s'", owner, s.Password),
		fmt.Sprintf("CREATE DATABASE %s OWNER %s", quoted, owner),
	} {
		if _, err := s.Superuser.Exec(ctx, statement); err != nil {
			return nil, err
		}
	}
	if database.Super, err = pgxpool.New(ctx, s.ConnString(name, SuperuserRole)); err != nil {
		return nil, err
	}
	// This is the default since PostgreSQL 15; on 14 the schema belongs to the superuser.
	if _, err := database.Super.Exec(ctx, "ALTER SCHEMA public OWNER TO pg_database_owner"); err != nil {
		return nil, err
	}
	if database.Owner, err = pgxpool.New(ctx, database.ConnString()); err != nil {
		return nil, err
	}
	return database, nil
}

// ConnString is the URL of the database for its owner.
func (d *Database) ConnString() string {
	return d.Server.ConnString(d.Name, d.OwnerRole)
}

// Drop closes the pools, ends every other connection to the database, and drops it with its owner.
func (d *Database) Drop(ctx context.Context) error {
	for _, pool := range []*pgxpool.Pool{d.Owner, d.Super} {
		if pool != nil {
			pool.Close()
		}
	}
	_, databaseErr := d.Server.Superuser.Exec(ctx, fmt.Sprintf("DROP DATABASE IF EXISTS %s WITH (FORCE)", quote(d.Name)))
	_, roleErr := d.Server.Superuser.Exec(ctx, fmt.Sprintf("DROP ROLE IF EXISTS %s", quote(d.OwnerRole)))
	return errors.Join(databaseErr, roleErr)
}

func quote(identifier string) string {
	return pgx.Identifier{identifier}.Sanitize()
}
