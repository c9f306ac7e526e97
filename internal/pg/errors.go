package pg

import (
	"context"
	"errors"
	"io"
	"net"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
)

// SQLSTATE codes that callers decide by (PostgreSQL documentation, appendix A).
const (
	stateLockNotAvailable     = "55P03"
	stateQueryCanceled        = "57014"
	stateDeadlockDetected     = "40P01"
	stateSerializationFailure = "40001"
	stateInsufficientPriv     = "42501"
	stateIdleInTransaction    = "25P03"
)

// SQLState returns the SQLSTATE of a server error, or "" if err is none.
func SQLState(err error) string {
	var e *pgconn.PgError
	if errors.As(err, &e) {
		return e.Code
	}
	return ""
}

// IsLockTimeout reports whether lock_timeout ended the statement.
func IsLockTimeout(err error) bool { return SQLState(err) == stateLockNotAvailable }

// IsStatementTimeout reports whether the server cancelled the statement although ctx is alive, which is what
// statement_timeout does. A cancelled context asks the server for the same SQLSTATE.
func IsStatementTimeout(ctx context.Context, err error) bool {
	return ctx.Err() == nil && SQLState(err) == stateQueryCanceled
}

// IsContention reports whether the statement lost against other sessions and may simply be tried again.
func IsContention(err error) bool {
	switch SQLState(err) {
	case stateLockNotAvailable, stateDeadlockDetected, stateSerializationFailure:
		return true
	}
	return false
}

// IsInsufficientPrivilege reports whether the role lacks a privilege.
func IsInsufficientPrivilege(err error) bool { return SQLState(err) == stateInsufficientPriv }

// IsRowError reports whether the values of some row made the statement fail: data exceptions, integrity violations and
// errors that a trigger raised (SQLSTATE classes 22, 23 and P0).
func IsRowError(err error) bool {
	switch state := SQLState(err); {
	case len(state) != 5:
		return false
	default:
		class := state[:2]
		return class == "22" || class == "23" || class == "P0"
	}
}

// IsUnreachable reports whether no session could be had at all: no route, refused, unknown database or user, or
// a server that is starting or stopping.
func IsUnreachable(err error) bool {
	var connect *pgconn.ConnectError
	return errors.As(err, &connect)
}

// IsLoginRefused reports whether the server is there and does not let the role in (SQLSTATE class 28).
func IsLoginRefused(err error) bool { return strings.HasPrefix(SQLState(err), "28") }

// IsConnectionLost reports whether a session broke while it was in use, so that the outcome of its last command
// is not known (SQLSTATE classes 08 and 57P), or was ended by the server because this process slept in a transaction.
func IsConnectionLost(err error) bool {
	if state := SQLState(err); state != "" {
		return state == stateIdleInTransaction || state[:2] == "08" || (len(state) == 5 && state[:3] == "57P")
	}
	var network net.Error
	return IsUnreachable(err) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) ||
		errors.Is(err, net.ErrClosed) || errors.As(err, &network) || pgconn.SafeToRetry(err)
}
