package provider_test

import (
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// examples is where the documentation takes its examples from.
var examples = os.DirFS(filepath.Join("..", "..", "examples"))

// TestExamples finds every folder with a configuration by itself, so that a new example cannot be forgotten. The real
// command runs them, with a provider that is built for it.
func TestExamples(t *testing.T) {
	t.Parallel()
	p, err := buildPlugin()
	if err != nil {
		t.Fatal(err)
	}
	run := func(name string, test func(*exampleRun), files ...configuration) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(newExampleRun(t, p, name, files))
		})
	}

	guides := make(map[string][]configuration)
	for _, dir := range configurationDirs(t) {
		switch {
		case dir == "provider":
			for _, file := range matching(t, dir+"/provider*.tf") {
				run(file, (*exampleRun).validate, configuration{path.Base(file): read(t, file)})
			}
		case path.Dir(dir) == "resources":
			for _, file := range matching(t, dir+"/resource*.tf") {
				run(file, (*exampleRun).applyAndImport, configuration{path.Base(file): read(t, file)})
			}
		case path.Dir(dir) == "data-sources":
			for _, file := range matching(t, dir+"/data-source*.tf") {
				run(file, (*exampleRun).applyAlone, configuration{path.Base(file): read(t, file)})
			}
		case path.Dir(dir) == "actions":
			for _, file := range matching(t, dir+"/action*.tf") {
				if hasActions(p.cli) {
					run(file, (*exampleRun).applyAndInvoke, configuration{path.Base(file): read(t, file)})
				} else {
					t.Logf("%s has no actions, so that nothing can be done with %s", p.cli, file)
				}
			}
		case isNumbered(path.Base(dir)): // a step of a guide that replaces the step before it
			guides[path.Dir(dir)] = append(guides[path.Dir(dir)], readDir(t, dir))
		default:
			guides[dir] = inStages(readDir(t, dir))
		}
	}
	for _, dir := range slices.Sorted(maps.Keys(guides)) {
		run(dir, (*exampleRun).applyInSteps, guides[dir]...)
	}
}

// configuration holds the files of one root module, by name.
type configuration map[string]string

// configurationDirs returns the folders that hold Terraform files, in order of their names.
func configurationDirs(t *testing.T) []string {
	t.Helper()
	var dirs []string
	err := fs.WalkDir(examples, ".", func(file string, _ fs.DirEntry, err error) error {
		if path.Ext(file) == ".tf" {
			dirs = append(dirs, path.Dir(file))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(dirs)
	if dirs = slices.Compact(dirs); len(dirs) == 0 {
		t.Fatal("there are no examples")
	}
	return dirs
}

// isNumbered reports whether a name says its place in an order, such as 1-expand.tf.
func isNumbered(name string) bool { return regexp.MustCompile(`^[0-9]+-`).MatchString(name) }

// inStages returns the configurations as the numbered files are added one by one, each in a pull request of its own.
// Files without a number are there from the start.
func inStages(all configuration) []configuration {
	present := make(configuration)
	var numbered []string
	for _, name := range slices.Sorted(maps.Keys(all)) {
		if isNumbered(name) {
			numbered = append(numbered, name)
		} else {
			present[name] = all[name]
		}
	}
	if len(numbered) == 0 {
		return []configuration{present}
	}
	var stages []configuration
	for _, name := range numbered {
		present[name] = all[name]
		stages = append(stages, maps.Clone(present))
	}
	return stages
}

func readDir(t *testing.T, dir string) configuration {
	t.Helper()
	files := make(configuration)
	for _, file := range slices.Concat(matching(t, dir+"/*.tf"), matching(t, dir+"/meanwhile.sql")) {
		files[path.Base(file)] = read(t, file)
	}
	return files
}

func matching(t *testing.T, pattern string) []string {
	t.Helper()
	files, err := fs.Glob(examples, pattern)
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func read(t *testing.T, file string) string {
	t.Helper()
	content, err := fs.ReadFile(examples, file)
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

// validate is for provider blocks, whose servers do not exist. Terraform looks at a provider block only when a resource
// needs it.
func (r *exampleRun) validate() {
	config := maps.Clone(r.steps[0])
	config["needs_it.tf"] = expandName
	r.write(config)
	r.succeed("validate", "-no-color")
}

// applyAndImport applies an example of a resource, brings it into the state again in every way that is documented, and
// destroys it.
func (r *exampleRun) applyAndImport() {
	r.createTables(path.Dir(r.name))
	before := r.columns()
	config := r.steps[0]
	r.apply(config)
	if path.Base(r.name) == "resource.tf" {
		dir := path.Dir(r.name)
		for _, command := range importCommands(r.t, read(r.t, dir+"/import.sh")) {
			r.succeed("state", "rm", command.address)
			r.succeed("import", "-input=false", command.address, command.id)
			r.expectAdopted(config)
			r.apply(config)
		}
		byBlock := maps.Clone(config)
		byBlock["import.tf"] = read(r.t, dir+"/import-by-string-id.tf")
		for _, address := range importTargets(r.t, byBlock["import.tf"]) {
			r.succeed("state", "rm", address)
		}
		r.expectAdopted(byBlock)
		r.apply(byBlock)
	}
	if r.destroy() {
		r.expectColumns(before)
	}
}

// applyAlone applies an example of a data source.
func (r *exampleRun) applyAlone() {
	r.createTables(path.Dir(r.name))
	r.apply(r.steps[0])
}

// applyAndInvoke applies an example of an action, and invokes it.
func (r *exampleRun) applyAndInvoke() {
	r.applyAlone()
	for _, content := range r.steps[0] {
		for _, match := range regexp.MustCompile(`(?m)^action "(\w+)" "(\w+)"`).FindAllStringSubmatch(content, -1) {
			r.succeed("apply", "-auto-approve", "-input=false", "-no-color", "-invoke=action."+match[1]+"."+match[2])
		}
	}
}

// applyInSteps applies one configuration after the other. Stages that were added one by one are taken back one by one
// as well, which is how a change is rolled back.
func (r *exampleRun) applyInSteps() {
	r.createTables(r.name)
	before := r.columns()
	for _, step := range r.steps {
		r.apply(step)
	}
	if growing := len(r.steps) > 1 && len(r.steps[0]) < len(r.steps[1]) && isNumbered(newest(r.steps[0])); growing {
		for _, step := range slices.Backward(r.steps) {
			less := maps.Clone(step)
			delete(less, newest(step))
			r.apply(less)
		}
	}
	if r.destroy() {
		r.expectColumns(before)
	}
}

// newest returns the numbered file that was added last.
func newest(c configuration) string {
	names := slices.Sorted(maps.Keys(c))
	numbered := slices.DeleteFunc(names, func(name string) bool { return !isNumbered(name) })
	if len(numbered) == 0 {
		return ""
	}
	return numbered[len(numbered)-1]
}

type importCommand struct{ address, id string }

// importCommands reads the lines of an import.sh.
func importCommands(t *testing.T, script string) []importCommand {
	t.Helper()
	var commands []importCommand
	for line := range strings.Lines(script) {
		if strings.HasPrefix(line, "#") {
			continue
		}
		words := strings.Fields(line)
		if len(words) != 4 || words[0] != "terraform" || words[1] != "import" {
			t.Fatalf("import.sh has a line that is no import: %s", line)
		}
		commands = append(commands, importCommand{words[2], strings.Trim(words[3], "'")})
	}
	if len(commands) == 0 {
		t.Fatal("import.sh has no command")
	}
	return commands
}

// importTargets returns the addresses of import blocks.
func importTargets(t *testing.T, config string) []string {
	t.Helper()
	var addresses []string
	for _, match := range regexp.MustCompile(`(?m)^  to = (\S+)$`).FindAllStringSubmatch(config, -1) {
		addresses = append(addresses, match[1])
	}
	if len(addresses) == 0 {
		t.Fatalf("no import block in:\n%s", config)
	}
	return addresses
}
