package main

import (
	"strings"
	"testing"
)

const override = `
Warning: Provider development overrides are in effect

The following provider development overrides are set in the CLI
configuration:
 - stagedpg/postgres in /build

The behavior may therefore not match any released version of the provider and
applying changes may cause the state to become incompatible with published
releases.
`

const reviewed = `Terraform used the selected providers to generate the following execution
plan. Resource actions are indicated with the following symbols:
  + create

Terraform will perform the following actions:

  # postgres_column_contract.name will be created
  + resource "postgres_column_contract" "name" {
      + table = "users"
    }

Plan: 1 to add, 0 to change, 0 to destroy.

Warning: Quarantine of columns of public.users (full_name) takes a lock

The table has ~300,000 rows (28 MiB).

It is proven again before anything happens.
`

func TestPlanText(t *testing.T) {
	refresh := `postgres_column_expand.name: Refreshing state... [id=public.users/first_name,last_name]
postgres_batched_backfill.name["a b"]: Refreshing state... [id=public.users/first_name,last_name]
`
	bold := strings.NewReplacer("postgres_column_expand.name: Refreshing state...", "\x1b[0m\x1b[1mpostgres_column_expand.name: Refreshing state...\x1b[0m",
		"\nWarning: Provider", "\n\x1b[33mWarning: \x1b[0mProvider")
	for _, test := range []struct{ name, output, want string }{
		{"plan", override + refresh + "\n" + reviewed, reviewed},
		{"coloured", bold.Replace(override + refresh + "\n" + reviewed), reviewed},
		{"first plan", override + "\n" + reviewed, reviewed},
		{"no changes", override + refresh + "\nNo changes. Your infrastructure matches the configuration.\n", "No changes. Your infrastructure matches the configuration.\n"},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := planText(test.output); got != test.want {
				t.Errorf("got:\n%s\nwant:\n%s", got, test.want)
			}
		})
	}
}

func TestApplyText(t *testing.T) {
	const events = `postgres_column_contract.name: Creating...
postgres_column_contract.name: Still creating... [10s elapsed]
postgres_column_contract.name: Creation complete after 11s [id=public.users/full_name]
`
	const again = `
Warning: Quarantine of columns of public.users (full_name) takes a lock

The table has ~300,000 rows (31 MiB).

It is proven again before anything happens.
`
	const fresh = `
Warning: Backfill of public.users was interrupted

The next apply goes on where it stopped.
`
	const complete = "\nApply complete! Resources: 1 added, 0 changed, 0 destroyed.\n"
	for _, test := range []struct{ name, output, want string }{
		{"the plan's warning again", override + events + again + complete, strings.TrimSpace(complete)},
		{"a warning of its own", override + events + fresh + complete, strings.TrimSpace(fresh + complete)},
		{"both", override + events + again + fresh + complete, strings.TrimSpace(fresh + complete)},
		{"both, in the other order", events + fresh + again + complete, strings.TrimSpace(fresh + complete)},
		{"interrupted", events + "\nInterrupt received.\nPlease wait for Terraform to exit.\n", "Interrupt received.\nPlease wait for Terraform to exit."},
		{"nothing", override, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := applyText(test.output, reviewed); got != test.want {
				t.Errorf("got:\n%s\nwant:\n%s", got, test.want)
			}
		})
	}
}

func TestIsEvent(t *testing.T) {
	for line, want := range map[string]bool{
		"postgres_column_contract.name: Creating...":                              true,
		"postgres_column_contract.name: Creation complete after 0s [id=a/b]":      true,
		"postgres_column_contract.name: Still creating... [10s elapsed]":          false,
		"postgres_column_contract.name: Refreshing state... [id=a/b]":             false,
		"Warning: Quarantine of columns of public.users (full_name) takes a lock": false,
		"  with postgres_column_contract.name,":                                   false,
		"":                                                                        false,
	} {
		if got := isEvent(line); got != want {
			t.Errorf("%q: %t, want %t", line, got, want)
		}
	}
}
