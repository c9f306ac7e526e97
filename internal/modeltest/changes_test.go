package modeltest

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math/big"
	"math/rand/v2"
	"strconv"
	"strings"

	"github.com/stagedpg/terraform-provider-postgres/internal/stage"
)

// expression is one in SQL, and the same in Go.
type expression struct {
	sql  string
	eval func(r row) value
}

// side maps the columns of one side of a change to expressions over the other one.
type side map[string]expression

func (s side) columns() []string { return stage.SortedKeys(s) }

func (s side) sql() map[string]string {
	texts := make(map[string]string)
	for column, e := range s {
		texts[column] = e.sql
	}
	return texts
}

// of computes a side.
func (s side) of(r row) row {
	computed := make(row)
	for column, e := range s {
		computed[column] = e.eval(r)
	}
	return computed
}

type column struct{ name, typ string }

// change is a column change that the test knows how to compute.
type change struct {
	name     string
	old, new []column
	// forwards and reverses are the expressions that a sync may have, one after the other.
	forwards, reverses []side
	values             map[string]func(*rand.Rand) value
	// overwritable means that the new columns have the equality that an overwriting backfill needs.
	overwritable bool
	// composite means that they are of a composite type, which a sync does not take and a backfill can only overwrite.
	composite bool
}

func names(columns []column) (names []string) {
	for _, c := range columns {
		names = append(names, c.name)
	}
	return names
}

func (c *change) oldColumns() []string { return names(c.old) }
func (c *change) newColumns() []string { return names(c.new) }

// typeOf returns the type of a column that a change has, or "".
func (c *change) typeOf(name string) string {
	for _, columns := range [][]column{c.old, c.new} {
		for _, c := range columns {
			if c.name == name {
				return c.typ
			}
		}
	}
	return ""
}

// strict is an expression that is NULL when the column is.
func strict(column, sql string, eval func(s string) string) expression {
	return expression{sql, func(r row) value {
		if r[column] == nil {
			return nil
		}
		return text(eval(*r[column]))
	}}
}

func maybeNull(percent int, draw func(*rand.Rand) string) func(*rand.Rand) value {
	return func(random *rand.Rand) value {
		if chance(random, percent) {
			return nil
		}
		return text(draw(random))
	}
}

// changes are all that the test knows. Each has columns of its own, so that any two can be on one table.
func changes(withCollation bool) []*change {
	all := []*change{changeOfNames(), changeOfPrice(), changeOfJSON(), changeOfBytes(), changeOfArray(), changeOfComposite(), changeToComposite(), changeOfStatus()}
	if withCollation {
		all = append(all, changeOfCollation())
	}
	return all
}

// types are what the tables of the changes need.
const (
	types     = `CREATE TYPE public.address AS (street text, city text)`
	collation = `CREATE COLLATION public.ignore_case (provider = icu, locale = 'und-u-ks-level2', deterministic = false)`
)

func drawName(random *rand.Rand) string {
	n := random.IntN(1000)
	return pick(random, "", " ", "Plato", "Ann Lee", "Mary Ann Smith", "  Zoë   Ångström ", "O'Neil "+strconv.Itoa(n), `a\b "q" $1`,
		"李 小龙", "NULL", "tab\there", fmt.Sprintf("First%d Last%d", n, n), fmt.Sprintf("Maria%d de la Cruz", n))
}

func drawWord(random *rand.Rand) string {
	n := random.IntN(1000)
	return pick(random, "", " ", "Ann", "de la Cruz", "Ångström ", "O'Neil", `q"\`, "李", fmt.Sprint("w", n), fmt.Sprint("x", n))
}

func changeOfNames() *change {
	name := func(sql string, eval func(s string) string) expression { return strict("full_name", sql, eval) }
	return &change{
		name: "names", old: []column{{"full_name", "text"}}, new: []column{{"first_name", "text"}, {"last_name", "text"}},
		forwards: []side{
			{ // Middle names are kept, and one word counts twice.
				"first_name": name("split_part(full_name, ' ', 1)", func(s string) string { return splitPart(s, " ", 1) }),
				"last_name":  name("substr(full_name, strpos(full_name, ' ') + 1)", func(s string) string { return substr(s, strpos(s, " ")+1) }),
			},
			{ // Nothing is lost.
				"first_name": name("split_part(full_name, ' ', 1)", func(s string) string { return splitPart(s, " ", 1) }),
				"last_name": name("substr(full_name, length(split_part(full_name, ' ', 1)) + 2)",
					func(s string) string { return substr(s, len([]rune(splitPart(s, " ", 1)))+2) }),
			},
			{ // Of an empty name comes NULL, and the note has a say.
				"first_name": name("nullif(split_part(full_name, ' ', 1), '')", func(s string) string { return splitPart(s, " ", 1) }).orNull(""),
				"last_name": {"concat(split_part(full_name, ' ', 2), '/', note)", func(r row) value {
					last := ""
					if r["full_name"] != nil {
						last = splitPart(*r["full_name"], " ", 2)
					}
					return text(concatWS("", &last, text("/"), r["note"]))
				}},
			},
		},
		reverses: []side{
			{"full_name": {"concat_ws(' ', first_name, last_name)", func(r row) value { return text(concatWS(" ", r["first_name"], r["last_name"])) }}},
			{"full_name": {"first_name || ' ' || last_name", func(r row) value {
				if r["first_name"] == nil || r["last_name"] == nil {
					return nil
				}
				return text(*r["first_name"] + " " + *r["last_name"])
			}}},
		},
		values: map[string]func(*rand.Rand) value{
			"full_name": maybeNull(10, drawName), "first_name": maybeNull(20, drawWord), "last_name": maybeNull(20, drawWord),
		},
		overwritable: true,
	}
}

// orNull is nullif.
func (e expression) orNull(null string) expression {
	return expression{e.sql, func(r row) value {
		if v := e.eval(r); v != nil && *v != null {
			return v
		}
		return nil
	}}
}

func changeOfPrice() *change {
	return &change{
		name: "price", old: []column{{"price", "numeric"}}, new: []column{{"price_cents", "bigint"}},
		forwards: []side{{"price_cents": strict("price", "(price * 100)::bigint", func(s string) string {
			r, _ := new(big.Rat).SetString(s)
			cents := r.Mul(r, big.NewRat(100, 1)).FloatString(0)
			if cents == "-0" {
				return "0"
			}
			return cents
		})}},
		reverses: []side{{"price": strict("price_cents", "round(price_cents / 100.0, 2)", func(s string) string {
			n, _ := strconv.ParseInt(s, 10, 64)
			return big.NewRat(n, 100).FloatString(2)
		})}},
		values: map[string]func(*rand.Rand) value{
			"price": maybeNull(10, func(random *rand.Rand) string {
				return pick(random, "1", "1.0", "1.00", "0", "-0.05", "0.005", "19.99", fmt.Sprintf("%d.%03d", random.IntN(100), random.IntN(1000)))
			}),
			"price_cents": maybeNull(10, func(random *rand.Rand) string { return strconv.Itoa(random.IntN(2000) - 100) }),
		},
		overwritable: true,
	}
}

func changeOfJSON() *change {
	return &change{
		name: "json", old: []column{{"payload", "json"}}, new: []column{{"kind", "text"}},
		forwards: []side{{"kind": {"payload ->> 'kind'", func(r row) value {
			if r["payload"] == nil {
				return nil
			}
			var document map[string]json.RawMessage
			if err := json.Unmarshal([]byte(*r["payload"]), &document); err != nil {
				panic(err)
			}
			kind, there := document["kind"]
			var s string
			switch {
			case !there || string(kind) == "null":
				return nil
			case json.Unmarshal(kind, &s) == nil:
				return text(s)
			default:
				return text(string(kind))
			}
		}}}},
		reverses: []side{{"payload": {"json_build_object('kind', kind)", func(r row) value {
			if r["kind"] == nil {
				return text(`{"kind" : null}`)
			}
			return text(`{"kind" : "` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(*r["kind"]) + `"}`)
		}}}},
		values: map[string]func(*rand.Rand) value{
			"payload": maybeNull(10, func(random *rand.Rand) string {
				return pick(random, `{}`, `{"kind":"a"}`, `{"kind": "a"}`, `{"kind": null}`, `{"kind": 1.50}`, `{"b": [1, 2], "kind": "O'Neil \"q\""}`,
					fmt.Sprintf(`{"kind": "k%d"}`, random.IntN(1000)))
			}),
			"kind": maybeNull(10, drawWord),
		},
	}
}

func changeOfBytes() *change {
	return &change{
		name: "bytes", old: []column{{"digest", "bytea"}}, new: []column{{"digest_hex", "text"}},
		forwards: []side{{"digest_hex": strict("digest", "encode(digest, 'hex')", func(s string) string { return s[2:] })}},
		reverses: []side{{"digest": strict("digest_hex", "decode(digest_hex, 'hex')", func(s string) string { return `\x` + strings.ToLower(s) })}},
		values: map[string]func(*rand.Rand) value{
			"digest": maybeNull(10, func(random *rand.Rand) string {
				return `\x` + pick(random, "", "00", "5c27", hex.EncodeToString([]byte(drawWord(random))))
			}),
			"digest_hex": maybeNull(10, func(random *rand.Rand) string {
				return pick(random, "", "00", "AB", "ab", hex.EncodeToString([]byte(drawWord(random))))
			}),
		},
	}
}

func changeOfArray() *change {
	return &change{
		name: "array", old: []column{{"tags", "text"}}, new: []column{{"tag_list", "text[]"}},
		forwards: []side{{"tag_list": strict("tags", "string_to_array(tags, ',')", func(s string) string {
			if s == "" {
				return "{}"
			}
			var elements []value
			for part := range strings.SplitSeq(s, ",") {
				elements = append(elements, text(part))
			}
			return printArray(elements)
		})}},
		reverses: []side{{"tags": strict("tag_list", "array_to_string(tag_list, ',')", func(s string) string { return concatWS(",", parse(s)...) })}},
		values: map[string]func(*rand.Rand) value{
			"tags": maybeNull(10, func(random *rand.Rand) string {
				return pick(random, "", ",", "a", "a,b", "null,NULL", drawWord(random)+","+drawWord(random))
			}),
			"tag_list": maybeNull(10, func(random *rand.Rand) string {
				word := drawWord(random)
				return printArray(pick(random, nil, []value{nil}, []value{text("")}, []value{text("a"), nil, text("b")}, []value{text("a,b")},
					[]value{&word, text("NULL")}))
			}),
		},
	}
}

// field is one of a composite value in a column.
func field(column string, n int, sql string) expression {
	return expression{sql, func(r row) value {
		if r[column] == nil {
			return nil
		}
		return parse(*r[column])[n]
	}}
}

func drawAddress(random *rand.Rand) string {
	street, city := drawWord(random), drawWord(random)
	return printRecord(pick(random, []value{nil, nil}, []value{&street, nil}, []value{nil, &city}, []value{&street, &city}))
}

// changeOfComposite has no reverse: a sync does not write into a composite column.
func changeOfComposite() *change {
	return &change{
		name: "composite", old: []column{{"home", "public.address"}}, new: []column{{"street", "text"}, {"city", "text"}},
		forwards: []side{{"street": field("home", 0, "(home).street"), "city": field("home", 1, "(home).city")}},
		values: map[string]func(*rand.Rand) value{
			"home": maybeNull(10, drawAddress), "street": maybeNull(20, drawWord), "city": maybeNull(20, drawWord),
		},
	}
}

func changeToComposite() *change {
	return &change{
		name: "to composite", old: []column{{"town", "text"}, {"zip", "text"}}, new: []column{{"place", "public.address"}},
		forwards: []side{{"place": {"CASE WHEN num_nulls(town, zip) < 2 THEN ROW(town, zip)::public.address END", func(r row) value {
			if r["town"] == nil && r["zip"] == nil {
				return nil
			}
			return text(printRecord([]value{r["town"], r["zip"]}))
		}}}},
		reverses: []side{{"town": field("place", 0, "(place).street"), "zip": field("place", 1, "(place).city")}},
		values: map[string]func(*rand.Rand) value{
			"town": maybeNull(30, drawWord), "zip": maybeNull(30, drawWord), "place": maybeNull(10, drawAddress),
		},
		composite: true,
	}
}

func changeOfStatus() *change {
	return &change{
		name: "status", old: []column{{"status", "text"}}, new: []column{{"status_code", "smallint"}},
		forwards: []side{{"status_code": {"CASE status WHEN 'new' THEN 1::smallint WHEN 'paid' THEN 2::smallint END", func(r row) value {
			switch {
			case same(r["status"], text("new")):
				return text("1")
			case same(r["status"], text("paid")):
				return text("2")
			}
			return nil
		}}}},
		reverses: []side{{"status": {"CASE status_code WHEN 1 THEN 'new' WHEN 2 THEN 'paid' END", func(r row) value {
			switch {
			case same(r["status_code"], text("1")):
				return text("new")
			case same(r["status_code"], text("2")):
				return text("paid")
			}
			return nil
		}}}},
		values: map[string]func(*rand.Rand) value{
			"status":      maybeNull(10, func(random *rand.Rand) string { return pick(random, "new", "paid", "odd") }),
			"status_code": maybeNull(10, func(random *rand.Rand) string { return pick(random, "1", "2", "7") }),
		},
		overwritable: true,
	}
}

// changeOfCollation has an old column whose values are equal to each other although they differ, and a new one whose name
// means something in PL/pgSQL.
func changeOfCollation() *change {
	draw := func(random *rand.Rand) string { return pick(random, "ann", "Ann", "ANN", "bob") }
	return &change{
		name: "collation", old: []column{{"Login Name", "text COLLATE public.ignore_case"}}, new: []column{{"new", "text"}},
		forwards: []side{{"new": strict("Login Name", `"Login Name"`, func(s string) string { return s })}},
		reverses: []side{{"Login Name": strict("new", `"new"`, func(s string) string { return s })}},
		values:   map[string]func(*rand.Rand) value{"Login Name": maybeNull(10, draw), "new": maybeNull(10, draw)},
	}
}
