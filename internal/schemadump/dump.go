package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	tfjson "github.com/hashicorp/terraform-json"
	"github.com/hashicorp/terraform-plugin-go/tfprotov6"
	"github.com/hashicorp/terraform-plugin-go/tftypes"
	"github.com/zclconf/go-cty/cty"
)

// address is where tfplugindocs looks for a provider called postgres, whoever publishes it.
const address = "registry.terraform.io/hashicorp/postgres"

// dump asks the provider server what Terraform would ask.
func dump(ctx context.Context, server tfprotov6.ProviderServer) (*tfjson.ProviderSchemas, error) {
	schema, err := server.GetProviderSchema(ctx, &tfprotov6.GetProviderSchemaRequest{})
	if err != nil {
		return nil, err
	}
	identity, err := server.GetResourceIdentitySchemas(ctx, &tfprotov6.GetResourceIdentitySchemasRequest{})
	if err != nil {
		return nil, err
	}
	for _, d := range append(schema.Diagnostics, identity.Diagnostics...) {
		if d.Severity == tfprotov6.DiagnosticSeverityError {
			return nil, fmt.Errorf("%s: %s", d.Summary, d.Detail)
		}
	}

	var errs []error
	provider := &tfjson.ProviderSchema{
		ConfigSchema:             convertSchema(&errs, schema.Provider),
		ResourceSchemas:          convertAll(&errs, schema.ResourceSchemas, convertSchema),
		DataSourceSchemas:        convertAll(&errs, schema.DataSourceSchemas, convertSchema),
		EphemeralResourceSchemas: convertAll(&errs, schema.EphemeralResourceSchemas, convertSchema),
		ListResourceSchemas:      convertAll(&errs, schema.ListResourceSchemas, convertSchema),
		ActionSchemas:            convertAll(&errs, schema.ActionSchemas, convertAction),
		Functions:                convertAll(&errs, schema.Functions, convertFunction),
		ResourceIdentitySchemas:  convertAll(&errs, identity.IdentitySchemas, convertIdentity),
	}
	return &tfjson.ProviderSchemas{
		FormatVersion: "1.0",
		Schemas:       map[string]*tfjson.ProviderSchema{address: provider},
	}, errors.Join(errs...)
}

// The conversions collect errors instead of returning them: the only one there can be is a type that has no JSON form,
// and it may be met at any depth.

func convertAll[From, To any](errs *[]error, from map[string]From, convert func(*[]error, From) To) map[string]To {
	to := make(map[string]To, len(from))
	for name, one := range from {
		to[name] = convert(errs, one)
	}
	return to
}

func convertSchema(errs *[]error, s *tfprotov6.Schema) *tfjson.Schema {
	if s == nil {
		return nil
	}
	return &tfjson.Schema{Version: uint64(s.Version), Block: convertBlock(errs, s.Block)}
}

func convertAction(errs *[]error, a *tfprotov6.ActionSchema) *tfjson.ActionSchema {
	return &tfjson.ActionSchema{Block: convertBlock(errs, a.Schema.Block)}
}

func convertBlock(errs *[]error, b *tfprotov6.SchemaBlock) *tfjson.SchemaBlock {
	nested := make(map[string]*tfjson.SchemaBlockType, len(b.BlockTypes))
	for _, n := range b.BlockTypes {
		nested[n.TypeName] = &tfjson.SchemaBlockType{
			NestingMode: blockNesting[n.Nesting],
			Block:       convertBlock(errs, n.Block),
			MinItems:    uint64(n.MinItems),
			MaxItems:    uint64(n.MaxItems),
		}
	}
	return &tfjson.SchemaBlock{
		Attributes:      convertAttributes(errs, b.Attributes),
		NestedBlocks:    nested,
		Description:     b.Description,
		DescriptionKind: descriptionKind(b.DescriptionKind),
		Deprecated:      b.Deprecated,
	}
}

func convertAttributes(errs *[]error, from []*tfprotov6.SchemaAttribute) map[string]*tfjson.SchemaAttribute {
	to := make(map[string]*tfjson.SchemaAttribute, len(from))
	for _, a := range from {
		attribute := &tfjson.SchemaAttribute{
			Description:     a.Description,
			DescriptionKind: descriptionKind(a.DescriptionKind),
			Deprecated:      a.Deprecated,
			Required:        a.Required,
			Optional:        a.Optional,
			Computed:        a.Computed,
			Sensitive:       a.Sensitive,
			WriteOnly:       a.WriteOnly,
		}
		if a.NestedType != nil {
			attribute.AttributeNestedType = &tfjson.SchemaNestedAttributeType{
				Attributes:  convertAttributes(errs, a.NestedType.Attributes),
				NestingMode: objectNesting[a.NestedType.Nesting],
			}
		} else {
			attribute.AttributeType = convertType(errs, a.Name, a.Type)
		}
		to[a.Name] = attribute
	}
	return to
}

func convertIdentity(errs *[]error, s *tfprotov6.ResourceIdentitySchema) *tfjson.IdentitySchema {
	attributes := make(map[string]*tfjson.IdentityAttribute, len(s.IdentityAttributes))
	for _, a := range s.IdentityAttributes {
		attributes[a.Name] = &tfjson.IdentityAttribute{
			IdentityType:      convertType(errs, a.Name, a.Type),
			Description:       a.Description,
			RequiredForImport: a.RequiredForImport,
			OptionalForImport: a.OptionalForImport,
		}
	}
	return &tfjson.IdentitySchema{Version: uint64(s.Version), Attributes: attributes}
}

func convertFunction(errs *[]error, f *tfprotov6.Function) *tfjson.FunctionSignature {
	signature := &tfjson.FunctionSignature{
		Description:        f.Description,
		Summary:            f.Summary,
		DeprecationMessage: f.DeprecationMessage,
		ReturnType:         convertType(errs, "return", f.Return.Type),
	}
	for _, p := range f.Parameters {
		signature.Parameters = append(signature.Parameters, convertParameter(errs, p))
	}
	if f.VariadicParameter != nil {
		signature.VariadicParameter = convertParameter(errs, f.VariadicParameter)
	}
	return signature
}

func convertParameter(errs *[]error, p *tfprotov6.FunctionParameter) *tfjson.FunctionParameter {
	return &tfjson.FunctionParameter{
		Name:        p.Name,
		Description: p.Description,
		IsNullable:  p.AllowNullValue,
		Type:        convertType(errs, p.Name, p.Type),
	}
}

// convertType goes through JSON, the one form that both type systems share.
func convertType(errs *[]error, name string, from tftypes.Type) cty.Type {
	var to cty.Type
	text, err := from.MarshalJSON() //nolint:staticcheck // deprecated for use outside the protocol, which this is
	if err == nil {
		err = json.Unmarshal(text, &to)
	}
	if err != nil {
		*errs = append(*errs, fmt.Errorf("type of %s: %w", name, err))
		return cty.DynamicPseudoType
	}
	return to
}

func descriptionKind(kind tfprotov6.StringKind) tfjson.SchemaDescriptionKind {
	if kind == tfprotov6.StringKindMarkdown {
		return tfjson.SchemaDescriptionKindMarkdown
	}
	return tfjson.SchemaDescriptionKindPlain
}

var blockNesting = map[tfprotov6.SchemaNestedBlockNestingMode]tfjson.SchemaNestingMode{
	tfprotov6.SchemaNestedBlockNestingModeSingle: tfjson.SchemaNestingModeSingle,
	tfprotov6.SchemaNestedBlockNestingModeList:   tfjson.SchemaNestingModeList,
	tfprotov6.SchemaNestedBlockNestingModeSet:    tfjson.SchemaNestingModeSet,
	tfprotov6.SchemaNestedBlockNestingModeMap:    tfjson.SchemaNestingModeMap,
	tfprotov6.SchemaNestedBlockNestingModeGroup:  tfjson.SchemaNestingModeGroup,
}

var objectNesting = map[tfprotov6.SchemaObjectNestingMode]tfjson.SchemaNestingMode{
	tfprotov6.SchemaObjectNestingModeSingle: tfjson.SchemaNestingModeSingle,
	tfprotov6.SchemaObjectNestingModeList:   tfjson.SchemaNestingModeList,
	tfprotov6.SchemaObjectNestingModeSet:    tfjson.SchemaNestingModeSet,
	tfprotov6.SchemaObjectNestingModeMap:    tfjson.SchemaNestingModeMap,
}
