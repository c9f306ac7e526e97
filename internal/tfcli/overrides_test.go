package tfcli

import (
	"strings"
	"testing"
)

func TestStripOverrideWarning(t *testing.T) {
	const framedWarning = `╷
│ Warning: Provider development overrides are in effect
│ 
│ The following provider development overrides are set in the CLI
│ configuration:
│  - stagedpg/postgres in /build
│ 
│ The behavior may therefore not match any released version of the provider
│ and applying changes may cause the state to become incompatible with
│ published releases.
╵
`
	const plainWarning = `
Warning: Provider development overrides are in effect

The following provider development overrides are set in the CLI
configuration:
 - stagedpg/postgres in /build

The behavior may therefore not match any released version of the provider and
applying changes may cause the state to become incompatible with published
releases.
`
	const otherWarning = `╷
│ Warning: Column public.users.full_name is still written by 2 services
│ 
│ Published releases.
╵
`
	colours := strings.NewReplacer("╷", "\x1b[33m╷\x1b[0m\x1b[0m", "│ ", "\x1b[33m│\x1b[0m \x1b[0m",
		"Warning: ", "\x1b[1m\x1b[33mWarning: \x1b[0m\x1b[0m\x1b[1m", "╵", "\x1b[33m╵\x1b[0m\x1b[0m")

	for _, test := range []struct{ name, output, want string }{
		{"framed at the start", framedWarning + "\nNo changes.\n", "No changes.\n"},
		{"framed and coloured", colours.Replace(framedWarning) + "Success!\n", "Success!\n"},
		{"framed between paragraphs", "one\n\n" + framedWarning + "\ntwo\n", "one\n\ntwo\n"},
		{"without a frame", plainWarning + "\nNo changes.\n", "\nNo changes.\n"},
		{"without a frame between paragraphs", "one\n" + plainWarning + "\ntwo\n", "one\n\ntwo\n"},
		{"another warning stays", framedWarning + otherWarning, otherWarning},
		{"nothing to strip", "one\n\n\ntwo", "one\n\n\ntwo"},
		{"unfinished line", "Enter a value: ", "Enter a value: "},
		{"empty", "", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := StripOverrideWarning(test.output); got != test.want {
				t.Errorf("got:\n%s\nwant:\n%s", got, test.want)
			}
			var bytewise strings.Builder
			filter := NewOverrideFilter(&bytewise)
			for i := range len(test.output) {
				if _, err := filter.Write([]byte{test.output[i]}); err != nil {
					t.Fatal(err)
				}
			}
			if err := filter.Close(); err != nil {
				t.Fatal(err)
			}
			if got := bytewise.String(); got != test.want {
				t.Errorf("written byte by byte:\n%s\nwant:\n%s", got, test.want)
			}
		})
	}
}
