package pgtest

import (
	"math/rand/v2"
	"strconv"
	"strings"
)

// name is what the oracle records; a writer writes the parts that its generation knows. An old-style name has no parts,
// and the full name of a new-style one is what FullName gives.
type name struct {
	generation        Generation
	token             string
	full, first, last *string
}

// name makes a name that no other row has had, because of the token in both its parts: two names that were equal by
// chance would leave open which side of a row a writer changed.
func (u *Users) name(generation Generation, random *rand.Rand) name {
	token := strconv.FormatUint(random.Uint64(), 36)
	var full string
	switch random.IntN(20) {
	case 0:
		if generation == OldStyle {
			return name{generation: generation, token: token}
		}
		full = "O'Neil" + token + " "
	case 1:
		full = "Plato" + token
	case 2:
		full = "Maria" + token + " de la Cruz" + token
	case 3:
		full = " Zoë" + token + "  Ångström" + token + " "
	default:
		full = "First" + token + " Last" + token
	}
	made := name{generation: generation, token: token, full: &full}
	if generation == OldStyle {
		return made
	}
	first, last, _ := strings.Cut(full, " ")
	if generation == DualWrite && u.Differs {
		first, last = strings.ToUpper(strings.TrimSpace(first)), strings.ToUpper(strings.TrimSpace(last))
	}
	if generation == NewStyle {
		full = first + " " + last
	}
	made.first, made.last = &first, &last
	return made
}
