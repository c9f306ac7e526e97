package load

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"
)

// condition is what a query of the user's own gave.
type condition struct {
	holds bool
	value string
}

// wrapped is the query as a subquery, so that it can only be one that gives rows, and gives no more than it takes to know
// that it gave too many.
func (q Query) wrapped() string {
	return "SELECT * FROM (\n" + strings.TrimRight(q.SQL, "; \t\r\n") + "\n) AS throttle_query LIMIT 2"
}

// wrappedBefore is how many characters of wrapped come before the user's.
const wrappedBefore = len("SELECT * FROM (\n")

func (q Query) read(*look) (string, []any) { return q.wrapped(), nil }

func (q Query) scan(rows pgx.Rows, r *reading) error {
	var all [][]any
	for rows.Next() {
		values, err := rows.Values()
		if err != nil {
			return err
		}
		all = append(all, values)
	}
	if err := rows.Err(); err != nil {
		return err
	}
	switch {
	case len(all) == 0:
		return fmt.Errorf("%w: no row", errNoValue)
	case len(all) > 1 || len(all[0]) != 1:
		return errors.New("it gave more than one value")
	}
	c, err := conditionOf(all[0][0])
	if err == nil {
		r.conditions[Signal(q.Name)] = c
	}
	return err
}

func conditionOf(value any) (c condition, err error) {
	var amount float64
	switch v := value.(type) {
	case nil:
		return c, fmt.Errorf("%w: NULL", errNoValue)
	case bool:
		return condition{v, fmt.Sprint(v)}, nil
	case int16:
		amount = float64(v)
	case int32:
		amount = float64(v)
	case int64:
		amount = float64(v)
	case float32:
		amount = float64(v)
	case float64:
		amount = v
	case pgtype.Numeric:
		f, err := v.Float64Value()
		if err != nil {
			return c, err
		}
		amount = f.Float64
	default:
		return c, errNeitherBooleanNorNumber
	}
	return condition{amount > 0, fmt.Sprint(amount)}, nil
}

var (
	errNoValue                 = errors.New("it gave no value")
	errNeitherBooleanNorNumber = errors.New("it gave neither a boolean nor a number")
)

func judgeCondition(_ time.Time, name Signal, c condition) (result judgement) {
	switch {
	case !c.holds:
	case c.value == "true":
		result.waitFor("%s: true", name)
	default:
		result.waitFor("%s: %s > 0", name, c.value)
	}
	return result
}
