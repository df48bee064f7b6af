/* text_parse.c -- graphs, functions and models of the text form.
 *
 * Recursive descent; the only recursion is over subgraphs, which is limited. A name is a value of
 * the graph it stands in, or of one around it; one that nobody has defined so far is taken for a
 * value of this graph that comes later (the verifier tells when it never comes). Outputs are looked
 * up when the graph is complete, since they may be values of a graph around.
 */
#include "compiler/ctx.h"
#include "compiler/text.h"
#include "compiler/wire.h"
#include <string.h>

typedef struct named { /* a declaration: type name */
	const char *name;
	pai_type type; /* kind UNKNOWN: not given */
	size_t token;
} named;

typedef PAI_VEC(named) named_vec;
typedef PAI_VEC(const char *) name_vec;

typedef struct parser {
	text_in t;
	pai_model *m;
	uint64_t n_nodes, n_inits;
} parser;

const char *const text_attr_types[15] = {
	"undefined",      "float",      "int",         "string",  "tensor", "graph",
	"floats",         "ints",       "strings",     "tensors", "graphs", "sparse_tensor",
	"sparse_tensors", "type_proto", "type_protos",
};

/* ---- values ---- */

/* The value of this graph with that name, made when it is new. */
static pai_value *own(pai_graph *g, const char *name)
{
	pai_value *v = pai_map_get(g->names, name);
	return v ? v : pai_graph_add_value(g, name);
}

static pai_value *reference(pai_graph *g, const char *name)
{
	if (!*name)
		return NULL;
	pai_value *v = pai_graph_value(g, name);
	return v ? v : pai_graph_add_value(g, name);
}

static pai_status twice(parser *p, const char *name)
{
	return text_fail(&p->t, PAI_E_text_name, "\"%.80s\" is defined twice", name);
}

static pai_status declaration(parser *p, named *out)
{
	*out = (named){.type = {.rank = -1}};
	text_peek(&p->t);
	out->token = p->t.token;
	if (text_peek_type(&p->t))
		PAI_TRY(text_type(&p->t, &out->type));
	return text_name(&p->t, &out->name);
}

/* ( [type] name, ... ) */
static pai_status declarations(parser *p, char open, char close, named_vec *out)
{
	PAI_TRY(text_match(&p->t, open));
	if (text_accept(&p->t, close))
		return PAI_OK;
	do {
		named d;
		PAI_TRY(declaration(p, &d));
		PAI_PUSH(p->t.arena, *out, d);
	} while (text_accept(&p->t, ','));
	return text_match(&p->t, close);
}

static pai_status initializer(parser *p, pai_graph *g, const named *d)
{
	pai_value *v = own(g, d->name);
	if (v->init)
		return twice(p, d->name);
	PAI_TRY(text_tensor(&p->t, &d->type, v->name, &v->init));
	if (v->type.kind == PAI_TYPE_UNKNOWN)
		v->type = d->type;
	PAI_PUSH(p->t.arena, g->inits, v);
	return text_limit(&p->t, "initialisers", ++p->n_inits, p->t.ctx->limits.initializers);
}

/* Graph inputs; each may have a default: float[2] x = {1, 2} */
static pai_status inputs(parser *p, pai_graph *g)
{
	PAI_TRY(text_match(&p->t, '('));
	if (text_accept(&p->t, ')'))
		return PAI_OK;
	do {
		named d;
		PAI_TRY(declaration(p, &d));
		pai_value *v = own(g, d.name);
		if (v->is_input)
			return twice(p, d.name);
		v->is_input = true;
		v->type = d.type;
		PAI_PUSH(p->t.arena, g->inputs, v);
		if (text_accept(&p->t, '='))
			PAI_TRY(initializer(p, g, &d));
	} while (text_accept(&p->t, ','));
	return text_match(&p->t, ')');
}

typedef PAI_VEC(Onnx__ValueInfoProto *) info_vec;

/* A value that the text says something about, which its origin records. */
static void inner_value(parser *p, pai_graph *g, const named *d, info_vec *infos)
{
	pai_value *v = own(g, d->name);
	Onnx__ValueInfoProto *info = PAI_NEW(p->t.arena, Onnx__ValueInfoProto);
	onnx__value_info_proto__init(info);
	info->name = (char *)(uintptr_t)v->name;
	v->origin = info;
	if (d->type.kind != PAI_TYPE_UNKNOWN)
		v->type = d->type;
	PAI_PUSH(p->t.arena, *infos, info);
}

/* The list of the graph or function, in its order, kept where the writer of bytes looks for it. */
static void keep_infos(parser *p, pai_graph *g, const info_vec *infos)
{
	if (!infos->n)
		return;
	if (g->function && !g->outer) {
		Onnx__FunctionProto *f = (Onnx__FunctionProto *)(uintptr_t)g->function->origin;
		if (!f) {
			f = PAI_NEW(p->t.arena, Onnx__FunctionProto);
			onnx__function_proto__init(f);
		}
		f->n_value_info = (size_t)infos->n;
		f->value_info = infos->at;
		g->function->origin = f;
	} else {
		Onnx__GraphProto *f = PAI_NEW(p->t.arena, Onnx__GraphProto);
		onnx__graph_proto__init(f);
		f->n_value_info = (size_t)infos->n;
		f->value_info = infos->at;
		g->origin = f;
	}
}

/* < type name, type name = {...}, ... > : types of values inside, and initialisers. */
static pai_status values(parser *p, pai_graph *g, info_vec *infos)
{
	if (!text_accept(&p->t, '<') || text_accept(&p->t, '>'))
		return PAI_OK;
	bool function = g->function && !g->outer;
	do {
		named d;
		PAI_TRY(declaration(p, &d));
		if (!*d.name)
			return text_fail(&p->t, PAI_E_text_name, "a value needs a name here");
		if (!function && text_accept(&p->t, '='))
			PAI_TRY(initializer(p, g, &d));
		else
			inner_value(p, g, &d, infos);
	} while (text_accept(&p->t, ','));
	return text_match(&p->t, '>');
}

static void outputs(parser *p, pai_graph *g, const named_vec *decls)
{
	for (int i = 0; i < decls->n; i++) {
		const named *d = &decls->at[i];
		pai_value *v = reference(g, d->name);
		if (!v)
			v = own(g, d->name);
		if (v->graph == g) {
			v->is_output = true;
			if (d->type.kind != PAI_TYPE_UNKNOWN)
				v->type = d->type;
		}
		PAI_PUSH(p->t.arena, g->outputs, v);
	}
}

/* ---- attributes ---- */

static pai_status graph(parser *p, pai_graph *outer, pai_node *owner, pai_function *function,
			pai_graph **out);

static pai_attr_type single_type(pai_attr_type list)
{
	static const pai_attr_type of[15] = {
		[PAI_ATTR_FLOATS] = PAI_ATTR_FLOAT,   [PAI_ATTR_INTS] = PAI_ATTR_INT,
		[PAI_ATTR_STRINGS] = PAI_ATTR_STRING, [PAI_ATTR_TENSORS] = PAI_ATTR_TENSOR,
		[PAI_ATTR_GRAPHS] = PAI_ATTR_GRAPH,
	};
	return of[list];
}

static pai_attr_type list_type(pai_attr_type single)
{
	for (int i = 0; i < 15; i++)
		if (single && single_type((pai_attr_type)i) == single)
			return (pai_attr_type)i;
	return PAI_ATTR_UNDEFINED;
}

static pai_status attr_tensor_or_type(parser *p, pai_attr *a)
{
	pai_type type = {.rank = -1};
	const char *name = NULL;
	PAI_TRY(text_type(&p->t, &type));
	int c = text_peek(&p->t);
	if (c != '{' && c != '=' && c != '[' && c != '"' && !text_id_start(c)) {
		a->type = PAI_ATTR_TYPE_PROTO;
		a->type_value = pai_arena_dup(p->t.arena, &type, sizeof type);
		return PAI_OK;
	}
	if (c == '"' || text_id_start(c))
		PAI_TRY(text_name(&p->t, &name));
	text_accept(&p->t, '=');
	a->type = PAI_ATTR_TENSOR;
	return text_tensor(&p->t, &type, name, &a->t);
}

static pai_status attr_number(parser *p, pai_attr *a, pai_attr_type expected)
{
	text_num num;
	PAI_TRY(text_number(&p->t, &num));
	if (!num.is_float && expected != PAI_ATTR_FLOAT) {
		a->type = PAI_ATTR_INT;
		return text_num_int(&p->t, num, &a->i);
	}
	a->type = PAI_ATTR_FLOAT;
	return text_num_float(&p->t, num, &a->f);
}

static pai_status attr_graph(parser *p, pai_graph *g, pai_node *n, pai_attr *a)
{
	a->type = PAI_ATTR_GRAPH;
	return graph(p, g, n, g ? g->function : NULL, &a->g);
}

/* One value; `expected` is the type that was written before it, or UNDEFINED. */
static pai_status attr_value(parser *p, pai_graph *g, pai_node *n, pai_attr_type expected,
			     pai_attr *a)
{
	text_in *t = &p->t;
	if (text_accept(t, '@')) {
		a->type = expected;
		return text_name(t, &a->ref);
	}
	if (expected == PAI_ATTR_GRAPH)
		return attr_graph(p, g, n, a);
	if (text_peek(t) == '"') {
		a->type = PAI_ATTR_STRING;
		return text_string(t, &a->s);
	}
	if (text_peek_type(t))
		return attr_tensor_or_type(p, a);
	if (text_peek_number(t))
		return attr_number(p, a, expected);
	if (text_id_start(text_peek(t)))
		return attr_graph(p, g, n, a);
	return text_expected(t, "an attribute value");
}

/* A typed array from values of the same type. */
static void list_fill(pai_arena *arena, const pai_attr *at, int n, pai_attr *a)
{
	a->list.n = n;
	if (a->type == PAI_ATTR_FLOATS) {
		float *v = PAI_NEWS(arena, float, n);
		for (int i = 0; i < n; i++)
			v[i] = at[i].f;
		a->list.f = v;
	} else if (a->type == PAI_ATTR_INTS) {
		int64_t *v = PAI_NEWS(arena, int64_t, n);
		for (int i = 0; i < n; i++)
			v[i] = at[i].i;
		a->list.i = v;
	} else if (a->type == PAI_ATTR_STRINGS) {
		pai_str *v = PAI_NEWS(arena, pai_str, n);
		for (int i = 0; i < n; i++)
			v[i] = at[i].s;
		a->list.s = v;
	} else if (a->type == PAI_ATTR_TENSORS) {
		pai_tensor **v = PAI_NEWS(arena, pai_tensor *, n);
		for (int i = 0; i < n; i++)
			v[i] = at[i].t;
		a->list.t = v;
	} else {
		pai_graph **v = PAI_NEWS(arena, pai_graph *, n);
		for (int i = 0; i < n; i++)
			v[i] = at[i].g;
		a->list.g = v;
	}
}

static pai_status attr_list(parser *p, pai_graph *g, pai_node *n, pai_attr_type written,
			    pai_attr *a)
{
	PAI_VEC(pai_attr) items = {0};
	pai_attr_type expected = single_type(written);
	if (written && !expected)
		return text_fail(&p->t, PAI_E_text_attribute, "a list where the type is %s",
				 text_attr_types[written]);
	a->type = written;
	if (!text_accept(&p->t, ']')) {
		do {
			pai_attr item = {0};
			PAI_TRY(attr_value(p, g, n, expected, &item));
			if (item.ref || (expected && item.type != expected))
				return text_fail(&p->t, PAI_E_text_attribute,
						 "the list mixes types of values");
			expected = item.type;
			PAI_PUSH(p->t.arena, items, item);
		} while (text_accept(&p->t, ','));
		PAI_TRY(text_match(&p->t, ']'));
		a->type = list_type(expected);
	}
	if (!a->type)
		return text_fail(&p->t, PAI_E_text_attribute,
				 items.n ? "no attribute holds a list of these"
					 : "an empty list needs a type, as in axes: ints = []");
	list_fill(p->t.arena, items.at, items.n, a);
	return PAI_OK;
}

static pai_status attr_type(parser *p, pai_attr_type *out)
{
	for (int i = 1; i < 15; i++) {
		const char *id;
		if (!text_peek_is(&p->t, text_attr_types[i]))
			continue;
		*out = (pai_attr_type)i;
		return text_id(&p->t, &id);
	}
	return text_expected(&p->t, "an attribute type such as int, floats or graph");
}

/* What follows the name: [: type] = value */
static pai_status attribute(parser *p, pai_graph *g, pai_node *n, pai_attr *a)
{
	pai_attr_type written = PAI_ATTR_UNDEFINED;
	if (text_accept(&p->t, ':'))
		PAI_TRY(attr_type(p, &written));
	PAI_TRY(text_match(&p->t, '='));
	if (text_accept(&p->t, '['))
		return attr_list(p, g, n, written, a);
	PAI_TRY(attr_value(p, g, n, written, a));
	if (written && a->type != written)
		return text_fail(&p->t, PAI_E_text_attribute, "the type says %s, the value is %s",
				 text_attr_types[written], text_attr_types[a->type]);
	return PAI_OK;
}

static pai_status attributes(parser *p, pai_graph *g, pai_node *n)
{
	PAI_VEC(pai_attr) attrs = {0};
	if (!text_accept(&p->t, '<'))
		return PAI_OK;
	do {
		pai_attr a = {0};
		PAI_TRY(text_name(&p->t, &a.name));
		PAI_TRY(attribute(p, g, n, &a));
		PAI_PUSH(p->t.arena, attrs, a);
		PAI_TRY(text_limit(&p->t, "attributes of a node", (uint64_t)attrs.n,
				   p->t.ctx->limits.attributes));
	} while (text_accept(&p->t, ','));
	n->attrs = attrs.at;
	n->n_attrs = attrs.n;
	return text_match(&p->t, '>');
}

/* ---- nodes ---- */

/* Operands. "" or nothing before a comma is an omitted one; a comma at the end adds none. */
static pai_status operands(parser *p, name_vec *out)
{
	for (;;) {
		const char *name = "";
		int c = text_peek(&p->t);
		if (c == '"' || text_id_start(c))
			PAI_TRY(text_name(&p->t, &name));
		else if (c != ',')
			return PAI_OK;
		PAI_PUSH(p->t.arena, *out, name);
		PAI_TRY(text_limit(&p->t, "operands of a node", (uint64_t)out->n,
				   p->t.ctx->limits.inputs));
		if (!text_accept(&p->t, ','))
			return PAI_OK;
	}
}

/* domain.with.dots.Operator:overload */
static pai_status operator_name(parser *p, const char **domain, const char **op,
				const char **overload)
{
	*domain = *overload = "";
	PAI_TRY(text_name(&p->t, op));
	while (text_accept(&p->t, '.')) {
		*domain = **domain ? pai_arena_printf(p->t.arena, "%s.%s", *domain, *op) : *op;
		PAI_TRY(text_limit(&p->t, "bytes in a name", strlen(*domain),
				   p->t.ctx->limits.name_bytes));
		PAI_TRY(text_name(&p->t, op));
	}
	return text_accept(&p->t, ':') ? text_name(&p->t, overload) : PAI_OK;
}

static pai_status node_outputs(parser *p, pai_node *n, const name_vec *names)
{
	for (int i = 0; i < names->n; i++) {
		if (!*names->at[i])
			continue;
		pai_value *v = own(n->graph, names->at[i]);
		if (v->producer || v->is_input || v->init)
			return twice(p, v->name);
		v->producer = n;
		v->slot = i;
		n->out[i] = v;
	}
	return PAI_OK;
}

static void node_inputs(parser *p, pai_node *n, const name_vec *names)
{
	n->n_in = names->n;
	n->in = PAI_NEWS(p->t.arena, pai_value *, names->n);
	for (int i = 0; i < names->n; i++)
		n->in[i] = reference(n->graph, names->at[i]);
}

/* An attribute that the grammar has no form for is all in its annotation. */
static pai_status formless_attr(parser *p, pai_node *n, const text_attr_note *note)
{
	const Onnx__AttributeProto *from = note->origin;
	pai_attr a = {.name = note->name, .type = (pai_attr_type)from->type, .origin = from};
	if (a.type == PAI_ATTR_SPARSE_TENSOR && from->sparse_tensor)
		PAI_TRY(pai_import_sparse(p->t.ctx, p->t.arena, pai_at_attr(n, a.name),
					  from->sparse_tensor, &a.t));
	pai_attr *more = PAI_NEWS(p->t.arena, pai_attr, n->n_attrs + 1);
	pai_copy(more, n->attrs, sizeof *more * (size_t)n->n_attrs);
	more[n->n_attrs++] = a;
	n->attrs = more;
	return PAI_OK;
}

static bool is_formless(const text_attr_note *note)
{
	const Onnx__AttributeProto *from = note->origin;
	return !note->tensor &&
	       (from->type == PAI_ATTR_SPARSE_TENSOR || from->type == PAI_ATTR_TYPE_PROTOS);
}

static void tensor_note(pai_tensor *t, const void *origin)
{
	const Onnx__TensorProto *from = origin;
	t->origin = from;
	if (from->name)
		t->name = from->name;
}

static pai_status apply_notes(parser *p, pai_node *n, const text_node_notes *notes)
{
	n->props = notes->props;
	n->origin = notes->origin;
	for (int i = 0; i < notes->attrs.n; i++) {
		const text_attr_note *note = &notes->attrs.at[i];
		pai_attr *a = (pai_attr *)(uintptr_t)pai_node_attr(n, note->name);
		bool has_tensor = a && a->type == PAI_ATTR_TENSOR && a->t;
		if (!a && is_formless(note))
			PAI_TRY(formless_attr(p, n, note));
		else if (!a || (note->tensor && !has_tensor))
			return text_fail(
				&p->t, PAI_E_text_annotation, "the node has no %s \"%.80s\"",
				note->tensor ? "tensor attribute" : "attribute", note->name);
		else if (note->tensor)
			tensor_note(a->t, note->origin);
		else
			a->origin = note->origin;
	}
	return PAI_OK;
}

static pai_status node(parser *p, pai_graph *g, const text_node_notes *notes)
{
	name_vec outs = {0}, ins = {0};
	const char *name = "", *domain, *op, *overload;
	if (text_accept(&p->t, '[')) {
		if (text_peek(&p->t) != ']')
			PAI_TRY(text_name(&p->t, &name));
		PAI_TRY(text_match(&p->t, ']'));
	}
	PAI_TRY(operands(p, &outs));
	PAI_TRY(text_match(&p->t, '='));
	PAI_TRY(operator_name(p, &domain, &op, &overload));
	PAI_TRY(text_limit(&p->t, "nodes", ++p->n_nodes, p->t.ctx->limits.nodes));
	pai_node *n = pai_graph_add_node(g, domain, op, 0, outs.n);
	n->name = name;
	n->overload = overload;
	PAI_TRY(attributes(p, g, n));
	PAI_TRY(text_match(&p->t, '('));
	PAI_TRY(operands(p, &ins));
	PAI_TRY(text_match(&p->t, ')'));
	if (!n->n_attrs)
		PAI_TRY(attributes(p, g, n));
	node_inputs(p, n, &ins);
	PAI_TRY(node_outputs(p, n, &outs));
	return apply_notes(p, n, notes);
}

static pai_status nodes(parser *p, pai_graph *g)
{
	PAI_TRY(text_match(&p->t, '{'));
	for (;;) {
		text_node_notes notes = {0};
		int c = text_peek(&p->t);
		PAI_TRY(text_read_notes(&p->t, p->m, g, &notes));
		if (c == '}' && notes.any)
			return text_fail(&p->t, PAI_E_text_annotation,
					 "an annotation about a node, but no node follows");
		if (text_accept(&p->t, '}'))
			return PAI_OK;
		PAI_TRY(node(p, g, &notes));
	}
}

/* ---- graphs, functions, models ---- */

/* Fills g from after its name on. */
static pai_status graph_body(parser *p, pai_graph *g)
{
	named_vec outs = {0};
	info_vec infos = {0};
	PAI_TRY(inputs(p, g));
	PAI_TRY(text_match2(&p->t, "=>"));
	PAI_TRY(declarations(p, '(', ')', &outs));
	PAI_TRY(values(p, g, &infos));
	keep_infos(p, g, &infos);
	PAI_TRY(nodes(p, g));
	outputs(p, g, &outs);
	return PAI_OK;
}

static pai_status graph(parser *p, pai_graph *outer, pai_node *owner, pai_function *function,
			pai_graph **out)
{
	const char *name;
	PAI_TRY(text_limit(&p->t, "nested subgraphs", (uint64_t)++p->t.depth,
			   p->t.ctx->limits.subgraph_depth));
	PAI_TRY(text_name(&p->t, &name));
	pai_graph *g = pai_graph_new(p->m, outer, owner, name);
	g->function = function;
	*out = g;
	PAI_TRY(graph_body(p, g));
	p->t.depth--;
	return PAI_OK;
}

static pai_status opsets(parser *p, pai_opset **out, int *n)
{
	PAI_VEC(pai_opset) list = {0};
	PAI_TRY(text_match(&p->t, '['));
	if (!text_accept(&p->t, ']')) {
		do {
			pai_opset o;
			PAI_TRY(text_cstring(&p->t, &o.domain));
			PAI_TRY(text_match(&p->t, ':'));
			PAI_TRY(text_int(&p->t, &o.version));
			PAI_PUSH(p->t.arena, list, o);
			PAI_TRY(text_limit(&p->t, "operator sets", (uint64_t)list.n,
					   p->t.ctx->limits.opsets));
		} while (text_accept(&p->t, ','));
		PAI_TRY(text_match(&p->t, ']'));
	}
	*out = list.at;
	*n = list.n;
	return PAI_OK;
}

/* ... */
static pai_status model_field(parser *p, const char *key)
{
	pai_model *m = p->m;
	const struct {
		const char *key;
		const char **string;
		int64_t *number;
	} fields[] = {
		{"ir_version", NULL, &m->ir_version},
		{"model_version", NULL, &m->model_version},
		{"producer_name", &m->producer_name, NULL},
		{"producer_version", &m->producer_version, NULL},
		{"domain", &m->domain, NULL},
		{"doc_string", &m->doc, NULL},
	};
	for (size_t i = 0; i < sizeof fields / sizeof *fields; i++)
		if (strcmp(key, fields[i].key) == 0)
			return fields[i].number ? text_int(&p->t, fields[i].number)
						: text_cstring(&p->t, fields[i].string);
	if (strcmp(key, "opset_import") == 0)
		return opsets(p, &m->opsets, &m->n_opsets);
	if (strcmp(key, "metadata_props") == 0)
		return text_props(&p->t, &m->props);
	return text_fail(&p->t, PAI_E_text_syntax, "a model has no field \"%.60s\"", key);
}

static pai_status function_field(parser *p, pai_function *f, const char *key)
{
	if (strcmp(key, "opset_import") == 0)
		return opsets(p, &f->opsets, &f->n_opsets);
	if (strcmp(key, "domain") == 0)
		return text_cstring(&p->t, &f->domain);
	if (strcmp(key, "overload") == 0)
		return text_cstring(&p->t, &f->overload);
	if (strcmp(key, "doc_string") == 0)
		return text_function_doc(&p->t, f);
	return text_fail(&p->t, PAI_E_text_syntax, "a function has no field \"%.60s\"", key);
}

/* < key: value, ... >, of the function or, where f is NULL, of the model. */
static pai_status header(parser *p, pai_function *f)
{
	if (!text_accept(&p->t, '<') || text_accept(&p->t, '>'))
		return PAI_OK;
	do {
		const char *key;
		PAI_TRY(text_id(&p->t, &key));
		PAI_TRY(text_match(&p->t, ':'));
		PAI_TRY(f ? function_field(p, f, key) : model_field(p, key));
	} while (text_accept(&p->t, ','));
	return text_match(&p->t, '>');
}

/* <a, b, c: int = 4> */
static pai_status function_attributes(parser *p, pai_function *f)
{
	PAI_VEC(pai_attr) attrs = {0};
	name_vec names = {0};
	if (!text_accept(&p->t, '<') || text_accept(&p->t, '>'))
		return PAI_OK;
	do {
		pai_attr a = {0};
		PAI_TRY(text_name(&p->t, &a.name));
		PAI_TRY(text_limit(&p->t, "attributes of a function",
				   (uint64_t)names.n + (uint64_t)attrs.n + 1,
				   p->t.ctx->limits.attributes));
		int c = text_peek(&p->t);
		if (c != ':' && c != '=') {
			PAI_PUSH(p->t.arena, names, a.name);
			continue;
		}
		PAI_TRY(attribute(p, f->graph, NULL, &a));
		PAI_PUSH(p->t.arena, attrs, a);
	} while (text_accept(&p->t, ','));
	f->attr_names = names.at;
	f->n_attr_names = names.n;
	f->attrs = attrs.at;
	f->n_attrs = attrs.n;
	return text_match(&p->t, '>');
}

static pai_status function(parser *p, pai_function **out)
{
	named_vec ins = {0}, outs = {0};
	info_vec infos = {0};
	pai_function *f = PAI_NEW(p->t.arena, pai_function);
	f->domain = f->overload = "";
	PAI_TRY(header(p, f));
	PAI_TRY(text_name(&p->t, &f->name));
	f->graph = pai_graph_new(p->m, NULL, NULL, f->name);
	f->graph->function = f;
	PAI_TRY(function_attributes(p, f));
	PAI_TRY(declarations(p, '(', ')', &ins));
	for (int i = 0; i < ins.n; i++) {
		pai_value *v = own(f->graph, ins.at[i].name);
		if (v->is_input)
			return twice(p, v->name);
		v->is_input = true;
		if (ins.at[i].type.kind != PAI_TYPE_UNKNOWN)
			inner_value(p, f->graph, &ins.at[i], &infos);
		PAI_PUSH(p->t.arena, f->graph->inputs, v);
	}
	PAI_TRY(text_match2(&p->t, "=>"));
	PAI_TRY(declarations(p, '(', ')', &outs));
	for (int i = 0; i < outs.n; i++)
		if (outs.at[i].type.kind != PAI_TYPE_UNKNOWN)
			inner_value(p, f->graph, &outs.at[i], &infos);
	PAI_TRY(values(p, f->graph, &infos));
	keep_infos(p, f->graph, &infos);
	PAI_TRY(nodes(p, f->graph));
	outputs(p, f->graph, &outs);
	*out = f;
	return PAI_OK;
}

/* Functions come after the graph that calls them. */
static pai_status resolve(void *payload, pai_graph *g)
{
	(void)payload;
	for (int i = 0; i < g->nodes.n; i++) {
		g->nodes.at[i]->op = pai_node_row(g->nodes.at[i]);
		pai_ctx_know_op(g->model->ctx, g->nodes.at[i]->op);
	}
	return PAI_OK;
}

static pai_status model(parser *p)
{
	pai_model *m = p->m;
	PAI_TRY(header(p, NULL));
	PAI_TRY(text_name(&p->t, &m->graph->name));
	PAI_TRY(graph_body(p, m->graph));
	while (text_peek(&p->t) >= 0) {
		pai_function *f;
		PAI_TRY(function(p, &f));
		if (pai_model_function(m, f->domain, f->name, f->overload))
			return twice(p, f->name);
		pai_model_add_function(m, f);
	}
	PAI_TRY(text_read_notes(&p->t, m, NULL, NULL));
	PAI_TRY(pai_graph_walk(m->graph, resolve, m));
	for (int i = 0; i < m->functions.n; i++)
		PAI_TRY(pai_graph_walk(m->functions.at[i]->graph, resolve, m));
	return PAI_OK;
}

pai_status pai_text_parse(pai_ctx *ctx, const char *name, const char *text, size_t n,
			  pai_model **out)
{
	pai_model *m = pai_model_new(ctx, "", 0);
	parser p = {.t = {.ctx = ctx, .arena = m->arena, .file = name, .s = text, .n = n}, .m = m};
	m->path = pai_arena_strdup(m->arena, name);
	m->text = true;
	text_locale locale = text_locale_begin();
	pai_status status = model(&p);
	text_locale_end(locale);
	if (status == PAI_OK)
		*out = m;
	else
		pai_model_free(m);
	return status;
}

pai_status pai_text_parse_function(pai_ctx *ctx, pai_model *m, const char *text, pai_function **out)
{
	parser p = {.t = {.ctx = ctx,
			  .arena = m->arena,
			  .file = "function",
			  .s = text,
			  .n = strlen(text)},
		    .m = m};
	text_locale locale = text_locale_begin();
	pai_status status = function(&p, out);
	if (status == PAI_OK && text_peek(&p.t) >= 0)
		status = text_expected(&p.t, "the end");
	text_locale_end(locale);
	return status;
}
