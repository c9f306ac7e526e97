// Command policycheck judges Terraform plans by the policies in a folder, with the engine of conftest and by its rules, and
// prints what `conftest test --output json` prints. Tests use it, because conftest itself takes minutes to build.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/rego"
)

// namespace is the package that conftest asks unless it is told otherwise.
const namespace = "main"

// Rules whose names match have their messages collected.
var (
	failures = regexp.MustCompile(`^(deny|violation)(_[a-zA-Z0-9]+)*$`)
	warnings = regexp.MustCompile(`^warn(_[a-zA-Z0-9]+)*$`)
)

type message struct {
	Msg string `json:"msg"`
}

type result struct {
	Filename  string    `json:"filename"`
	Namespace string    `json:"namespace"`
	Warnings  []message `json:"warnings"`
	Failures  []message `json:"failures"`
}

func main() {
	if len(os.Args) < 3 {
		fmt.Fprintln(os.Stderr, "usage: policycheck POLICY-DIR PLAN.json...")
		os.Exit(2)
	}
	results, err := check(context.Background(), os.Args[1], os.Args[2:])
	if err == nil {
		err = json.NewEncoder(os.Stdout).Encode(results)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "policycheck:", err)
		os.Exit(2)
	}
	if slices.ContainsFunc(results, func(r result) bool { return len(r.Failures) > 0 }) {
		os.Exit(1)
	}
}

func check(ctx context.Context, policies string, plans []string) (results []result, err error) {
	compiler, rules, err := compile(policies)
	if err != nil {
		return nil, err
	}
	for _, plan := range plans {
		content, err := os.ReadFile(plan)
		if err != nil {
			return nil, err
		}
		var input any
		if err := json.Unmarshal(content, &input); err != nil {
			return nil, fmt.Errorf("%s: %w", plan, err)
		}
		r := result{Filename: plan, Namespace: namespace, Warnings: []message{}, Failures: []message{}}
		for _, rule := range rules {
			messages, err := ask(ctx, compiler, rule, input)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", plan, err)
			}
			if failures.MatchString(rule) {
				r.Failures = append(r.Failures, messages...)
			} else {
				r.Warnings = append(r.Warnings, messages...)
			}
		}
		results = append(results, r)
	}
	return results, nil
}

// compile reads all policies of a folder and returns the names of the rules that conftest would ask for.
func compile(dir string) (compiler *ast.Compiler, rules []string, err error) {
	modules := make(map[string]*ast.Module)
	err = filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		if err != nil || filepath.Ext(path) != ".rego" {
			return err
		}
		content, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		module, err := ast.ParseModuleWithOpts(path, string(content), ast.ParserOptions{RegoVersion: ast.RegoV1})
		if err != nil {
			return err
		}
		modules[path] = module
		if module.Package.Path.String() != "data."+namespace {
			return nil
		}
		for _, r := range module.Rules {
			if name := r.Head.Name.String(); failures.MatchString(name) || warnings.MatchString(name) {
				rules = append(rules, name)
			}
		}
		return nil
	})
	if err != nil {
		return nil, nil, err
	}
	if len(rules) == 0 {
		return nil, nil, fmt.Errorf("no rules of package %s in %s", namespace, dir)
	}
	slices.Sort(rules)
	compiler = ast.NewCompiler()
	if compiler.Compile(modules); compiler.Failed() {
		return nil, nil, compiler.Errors
	}
	return compiler, slices.Compact(rules), nil
}

// ask returns the messages of one rule. Each is a string, or an object with the string as its msg.
func ask(ctx context.Context, compiler *ast.Compiler, rule string, input any) (messages []message, err error) {
	set, err := rego.New(rego.Query("data."+namespace+"."+rule), rego.Compiler(compiler), rego.Input(input), rego.StrictBuiltinErrors(true)).Eval(ctx)
	if err != nil {
		return nil, err
	}
	for _, answer := range set {
		for _, expression := range answer.Expressions {
			values, ok := expression.Value.([]any)
			if !ok {
				return nil, fmt.Errorf("%s is %T, not a set", rule, expression.Value)
			}
			for _, value := range values {
				if object, ok := value.(map[string]any); ok {
					value = object["msg"]
				}
				text, ok := value.(string)
				if !ok {
					return nil, fmt.Errorf("%s has a result without msg", rule)
				}
				messages = append(messages, message{text})
			}
		}
	}
	return messages, nil
}
