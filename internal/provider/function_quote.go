package provider

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/hashicorp/terraform-plugin-framework/function"

	"github.com/stagedpg/terraform-provider-postgres/internal/pg"
)

var _ function.Function = (*quoteFunction)(nil)

// quoteFunction is a function that turns a text into SQL. It needs no database.
type quoteFunction struct {
	name, parameter      string
	summary, description string
	parameterDescription string
	// quote returns the SQL. Its error becomes the end of a sentence that Terraform begins.
	quote func(text string) (string, error)
}

func newQuoteIdentifier() function.Function {
	return &quoteFunction{
		name: "quote_identifier", parameter: "name", quote: quoteIdentifier,
		summary: "Quotes a name for use in SQL",
		description: "Returns the name in double quotes, and doubles those that are in it. It is always quoted, so that the server takes it as it " +
			"is: upper case, spaces and reserved words included. Quote each part of a qualified name by itself. It is an error if no object " +
			"can have that name: an empty text, one with a NUL character, and one of more than 63 bytes, which the server would cut off.",
		parameterDescription: "Name of a column, table or other object, without quotes.",
	}
}

func newQuoteLiteral() function.Function {
	return &quoteFunction{
		name: "quote_literal", parameter: "text", quote: quoteLiteral,
		summary: "Quotes a text as an SQL constant",
		description: "Returns the text in single quotes, and doubles those that are in it. A text with a backslash comes in the form `E'...'`, which " +
			"means the same whatever `standard_conforming_strings` is. A text with a NUL character is an error, because the server cannot hold one.",
		parameterDescription: "The text.",
	}
}

// Metadata names the function.
func (f *quoteFunction) Metadata(_ context.Context, _ function.MetadataRequest, resp *function.MetadataResponse) {
	resp.Name = f.name
}

// Definition describes the function.
func (f *quoteFunction) Definition(_ context.Context, _ function.DefinitionRequest, resp *function.DefinitionResponse) {
	resp.Definition = function.Definition{
		Summary: f.summary, MarkdownDescription: f.description,
		Parameters: []function.Parameter{function.StringParameter{Name: f.parameter, MarkdownDescription: f.parameterDescription}},
		Return:     function.StringReturn{},
	}
}

// Run quotes.
func (f *quoteFunction) Run(ctx context.Context, req function.RunRequest, resp *function.RunResponse) {
	var text string
	if resp.Error = req.Arguments.Get(ctx, &text); resp.Error != nil {
		return
	}
	quoted, err := f.quote(text)
	if err != nil {
		resp.Error = function.NewArgumentFuncError(0, err.Error())
		return
	}
	resp.Error = resp.Result.Set(ctx, quoted)
}

func quoteIdentifier(name string) (string, error) {
	switch {
	case name == "":
		return "", errors.New("it is empty, and no object of a database can have an empty name")
	case strings.ContainsRune(name, 0):
		return "", errors.New("it has a NUL character (U+0000), which no name in a database can have")
	case len(name) > pg.MaxIdentifierBytes:
		return "", fmt.Errorf("it has %d bytes, and the server would cut it off after %d (%q) and mean another object; use a shorter name",
			len(name), pg.MaxIdentifierBytes, name)
	}
	return pg.Quote(name), nil
}

func quoteLiteral(text string) (string, error) {
	if strings.ContainsRune(text, 0) {
		return "", errors.New("it has a NUL character (U+0000), which no text in a database can have")
	}
	return pg.Literal(text), nil
}
