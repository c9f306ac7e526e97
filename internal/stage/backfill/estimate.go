package backfill

import (
	"context"
	"fmt"
	"math"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/stagedpg/terraform-provider-postgres/internal/ddl"
	"github.com/stagedpg/terraform-provider-postgres/internal/ledger"
	"github.com/stagedpg/terraform-provider-postgres/internal/pg"
	"github.com/stagedpg/terraform-provider-postgres/internal/stage"
)

// estimate is what a plan says of the work ahead.
type estimate struct {
	// rows is how many need work, or negative; atMost means that it may be fewer.
	rows   float64
	atMost bool
	// total is how many rows there are, or negative.
	total float64
	// low and high bound the time, and wal is in bytes. They are 0 when basis is "".
	low, high time.Duration
	wal       float64
	// basis says where they come from, and why what is missing.
	basis, why string
}

// An estimate from the model is good for a factor of two, one from what this database has seen for less.
const (
	modelSpread   = 1.7
	historySpread = 1.4
	// A backfill tells something of speed when it had so many rows and took so long.
	tellingRows = 1000
	tellingTime = time.Second
)

// outlook is what is read before a sample is taken.
type outlook struct {
	shape   shape
	history []ledger.History
	// others are the shapes of tables in the history.
	others map[uint32]shape
}

// readOutlook reads the shapes and what the ledger knows of earlier backfills.
func (s *Spec) readOutlook(ctx context.Context, tx pgx.Tx, env *stage.Env, table *pg.Table) (o outlook, err error) {
	if o.shape, err = readShape(ctx, tx, table, s.Targets()); err != nil {
		return o, err
	}
	history, err := env.Ledger.History(ctx, tx)
	if err != nil {
		return o, err
	}
	o.others = make(map[uint32]shape)
	for _, h := range history {
		if h.Rows < tellingRows || h.Busy < tellingTime {
			continue
		}
		o.history = append(o.history, h)
		if _, known := o.others[h.TableOID]; known || h.TableOID == table.OID {
			continue
		}
		was, err := stage.Decode[Spec](h.Spec)
		if err != nil {
			return o, err
		}
		other, err := readOther(ctx, tx, h.TableOID)
		if err != nil {
			return o, err
		}
		if other.EstimatedRows <= 0 || other.Pages() == 0 {
			continue // It was dropped, emptied or never analyzed.
		}
		if o.others[h.TableOID], err = readShape(ctx, tx, other, was.Targets()); err != nil {
			return o, err
		}
		break // The newest will do.
	}
	return o, nil
}

// readOther reads from the catalogs how large a table is that the plan is not about. Nobody's lock on it is waited for.
func readOther(ctx context.Context, tx pgx.Tx, oid uint32) (*pg.Table, error) {
	rows, err := tx.Query(ctx, `
		WITH RECURSIVE tree(oid) AS (
		  SELECT $1::oid
		  UNION
		  SELECT i.inhrelid FROM tree JOIN pg_inherits i ON i.inhparent = tree.oid
		)
		SELECT c.oid, c.relpages::bigint, greatest(c.reltuples, 0)::float8 FROM tree JOIN pg_class c ON c.oid = tree.oid WHERE c.relkind = 'r'`, oid)
	if err != nil {
		return nil, fmt.Errorf("read the size of another table: %w", err)
	}
	table := &pg.Table{OID: oid}
	var leaf pg.Leaf
	var tuples float64
	_, err = pgx.ForEachRow(rows, []any{&leaf.OID, &leaf.Pages, &tuples}, func() error {
		table.Leaves = append(table.Leaves, leaf)
		table.EstimatedRows += tuples
		return nil
	})
	return table, err
}

// estimate puts together what the ledger, the catalogs and a sample say.
func (s *Spec) estimate(o outlook, table *pg.Table, found sample, why string) estimate {
	e := estimate{rows: table.EstimatedRows, atMost: true, total: table.EstimatedRows, why: why}
	w, do := o.shape, work{added: unknownWidth * float64(len(s.Set))}
	if found.pages > 0 {
		w.rows = float64(found.rows) / float64(found.pages) * w.pages
		e.rows, e.atMost = 0, found.atMost
		if found.rows > 0 {
			e.rows = float64(found.needing) / float64(found.rows) * w.rows
			do.width = found.bytes/float64(found.rows) + linePtr // for its alignment
		}
		if found.needing > 0 {
			do.added = max(found.added/float64(found.needing), 0)
		}
	}
	if found.whole {
		e.rows, w.rows = float64(found.needing), float64(found.rows)
	}
	if found.whole || e.total < 0 && found.pages > 0 {
		e.total = w.rows
	}
	if w.pages == 0 || w.rows <= 0 || e.rows <= 0 {
		return e
	}
	// Never wider than what there is room for: a page has as many rows as it has.
	widest := max((pageBytes-pageHeader)*w.pages/w.rows-linePtr, tupleHeader)
	if do.width == 0 || do.width > widest {
		do.width = widest
	}
	do.rows = e.rows
	perRow := found.perRow
	if perRow < 10*time.Microsecond {
		perRow = 0 // less than what an update takes, and no steady figure
	}
	seconds, wal := w.cost(do, perRow)
	seconds /= math.Pow(float64(s.Options.workers()), parallel)
	spread := modelSpread
	if found.pages > 0 {
		// Not how many they were: a busy server would make each plan read differently.
		e.basis = fmt.Sprintf("estimated from a sample of up to %d pages", samplePages)
	}
	if before := o.choose(s, table); before != nil {
		rate, size, scaled := o.past(before, table, w, do)
		if rate > 0 {
			seconds, spread = do.rows/(rate*math.Pow(float64(s.Options.workers()), parallel)), historySpread
		}
		if size > 0 {
			wal = do.rows * size
		}
		switch {
		case rate <= 0 && size <= 0:
		case before.Key == s.ID:
			e.basis = "as it went so far"
		case scaled:
			e.basis = fmt.Sprintf("as the backfill %s went here, scaled to this table", before.Key)
		default:
			e.basis = fmt.Sprintf("as the backfill %s went here", before.Key)
		}
	}
	if e.basis == "" {
		return e
	}
	seconds /= s.Options.dutyCycle()
	low, high := seconds/spread, seconds*spread
	if s.Options.MaxRowsPerSecond > 0 {
		slowest := do.rows / s.Options.MaxRowsPerSecond
		low, high = max(low, slowest), max(high, slowest*1.2)
	}
	e.low, e.high, e.wal = pg.Seconds(low).Duration(), pg.Seconds(high).Duration(), wal
	return e
}

// choose returns the earlier backfill that tells most: the same, else the newest of the table, else the newest of any table whose
// shape is known.
func (o outlook) choose(s *Spec, table *pg.Table) *ledger.History {
	var ofTable, ofAny *ledger.History
	for i, h := range o.history {
		_, known := o.others[h.TableOID]
		switch {
		case h.TableOID == table.OID && h.Key == s.ID:
			return &o.history[i]
		case h.TableOID == table.OID && ofTable == nil:
			ofTable = &o.history[i]
		case known && ofAny == nil:
			ofAny = &o.history[i]
		}
	}
	if ofTable != nil {
		return ofTable
	}
	return ofAny
}

// past returns the rows per second of one busy worker, or 0 if that was bounded, and the WAL of a row, or 0 if it is unknown. Both
// are scaled by the model when they are of another table.
func (o outlook) past(h *ledger.History, table *pg.Table, w shape, do work) (rate, wal float64, scaled bool) {
	was, err := stage.Decode[Spec](h.Spec)
	if err != nil {
		return 0, 0, false
	}
	wal = float64(h.WAL) / float64(h.Rows)
	if was.Options.MaxRowsPerSecond == 0 {
		rate = float64(h.Rows) / h.Busy.Seconds() / was.Options.dutyCycle() / math.Pow(float64(was.Options.workers()), parallel)
	}
	other, known := o.others[h.TableOID]
	if h.TableOID == table.OID || !known {
		return rate, wal, false
	}
	then := work{rows: float64(h.Rows), added: unknownWidth * float64(len(was.Set))}
	then.width = max((pageBytes-pageHeader)*other.pages/other.rows-linePtr, tupleHeader)
	thenSeconds, thenWAL := other.cost(then, 0)
	seconds, bytes := w.cost(do, 0)
	const most = 5 // times as dear or cheap as the other
	ratio := func(now, then float64) float64 { return min(max(now/do.rows/(then/float64(h.Rows)), 1.0/most), most) }
	return rate / ratio(seconds, thenSeconds), wal * ratio(bytes, thenWAL), true
}

// Refill says how long a backfill of all rows takes by columns that are not there yet, and what it writes; "" when that
// cannot be told.
func Refill(ctx context.Context, tx pgx.Tx, env *stage.Env, table *pg.Table, columns []string) (string, error) {
	s := &Spec{Table: table.Name, Set: make(map[string]string)}
	for _, c := range columns {
		s.Set[c] = "NULL"
	}
	o, err := s.readOutlook(ctx, tx, env, table)
	if err != nil || table.EstimatedRows < 0 {
		return "", err
	}
	e := s.estimate(o, table, sample{}, "")
	if e.rows <= 0 || table.Pages() == 0 {
		return "", nil
	}
	if e.basis == "" {
		return s.modelled(o, table), nil
	}
	return fmt.Sprintf("%s and with about %s of WAL (%s)", Span(e.low, e.high), ddl.Bytes(e.wal), e.basis), nil
}

// modelled says it without any sample.
func (s *Spec) modelled(o outlook, table *pg.Table) string {
	e := s.estimate(o, table, sample{
		pages: table.Pages(), rows: int64(table.EstimatedRows), needing: int64(table.EstimatedRows),
		added: unknownWidth * float64(len(s.Set)) * table.EstimatedRows,
	}, "")
	return fmt.Sprintf("%s and with about %s of WAL (estimated from its size)", Span(e.low, e.high), ddl.Bytes(e.wal))
}
