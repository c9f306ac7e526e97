package usage

import (
	"regexp"
	"strconv"
	"strings"
)

// access is what a parsed statement does with the columns of one relation, by their numbers. Number 0 is the whole row.
type access struct {
	relation      uint32
	reads, writes []int16
}

// The server notes with a parsed statement for which columns a role needs SELECT, INSERT and UPDATE: since version 16 in a list of
// its own (RTEPermissionInfo), before in the range table (src/include/nodes/parsenodes.h). Aliases are resolved there, stars
// are expanded, and a reference to the whole row has a mark. Names in the text are escaped and cannot look like it.
// The relation kind c is the row type of EXCLUDED, which is no relation of its own.
var (
	permissions = regexp.MustCompile(`:relid (\d+) (?::inh \w+|:relkind [rpvmf] :rellockmode \d+ :tablesample .*? :inFromCl \w+) :requiredPerms \d+ ` +
		`:checkAsUser \d+ :selectedCols \(b([ \d]*)\) :insertedCols \(b([ \d]*)\) :updatedCols \(b([ \d]*)\)`)
	rangeTable = regexp.MustCompile(`:rtekind 0 :relid (\d+) (?::inh \w+ )?:relkind [rpvmf] `)
)

// columnOffset is where the bit of column 0 is: system columns have negative numbers (FirstLowInvalidHeapAttributeNumber).
const columnOffset = 7

// accesses reads the parse tree of a function's body. It returns ok = false when it does not know the format.
func accesses(tree string) (list []access, ok bool) {
	seen := make(map[string]bool)
	for i, match := range permissions.FindAllStringSubmatchIndex(tree, -1) {
		group := func(n int) string { return tree[match[2*n]:match[2*n+1]] }
		oid, err := strconv.ParseUint(group(1), 10, 32)
		if err != nil {
			return nil, false
		}
		seen[group(1)] = true
		// Since version 16 EXCLUDED has an entry of its own, right behind that of the table, which says that it is read.
		if i > 0 && isExcluded(tree[:match[0]], list[i-1], uint32(oid)) {
			list = append(list, access{})
			continue
		}
		list = append(list, access{
			relation: uint32(oid), reads: columnNumbers(group(2)), writes: append(columnNumbers(group(3)), columnNumbers(group(4))...),
		})
	}
	for _, match := range rangeTable.FindAllStringSubmatch(tree, -1) {
		if !seen[match[1]] {
			return nil, false
		}
	}
	return list, true
}

// isExcluded reports whether an entry belongs to EXCLUDED. What is before it ends with the target's entry then: an INSERT has no
// other relation at its own level.
func isExcluded(before string, previous access, relation uint32) bool {
	return previous.relation == relation && len(previous.writes) > 0 && strings.HasSuffix(before, ")} {RTEPERMISSIONINFO ") &&
		strings.Contains(before, "{RANGETBLENTRY :alias {ALIAS :aliasname excluded ")
}

func columnNumbers(bits string) (numbers []int16) {
	for _, bit := range strings.Fields(bits) {
		n, err := strconv.ParseInt(bit, 10, 16)
		if err == nil && n >= columnOffset {
			numbers = append(numbers, int16(n-columnOffset))
		}
	}
	return numbers
}
