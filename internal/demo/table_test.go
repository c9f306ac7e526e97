package main

import "testing"

func TestRenderMarksWhatIsNew(t *testing.T) {
	before := &snapshot{columns: []column{{1, "id", "bigint"}, {2, "full_name", "text"}, {4, "email", "text"}}}
	now := &snapshot{
		columns: []column{{1, "id", "bigint"}, {2, "full_name__quarantined", "text"}, {3, "first_name", "text"}},
		rows:    [][]string{{"26", "'Zoë Ångström'", "NULL"}, {"27", "NULL", "'Plato'"}},
	}
	const want = `  id                      bigint  26              27
~ full_name__quarantined  text    'Zoë Ångström'  NULL
+ first_name              text    NULL            'Plato'
- email                   text                    
`
	if got := now.render(before); got != want {
		t.Errorf("got:\n%s\nwant:\n%s", got, want)
	}
}
