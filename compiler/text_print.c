/* text_print.c -- writes the text form.
 *
 * What is written is a function of the model alone, reads back to an equal model here, and is taken
 * by ONNX's own parser as far as that knows the features. One initialiser, value or node a line, so
 * that line-wise diffs are useful; the tokens are those of ONNX's printer.
 */
#include "compiler/text_out.h"
#include "compiler/wire.h"
#include <string.h>

/* ---- what the grammar can say ---- */

/* Can the grammar say it? Not where an element type is unknown. */
static bool has_form(const pai_type *t)
{
	for (; t; t = t->elem) {
		bool typed = t->kind == PAI_TYPE_TENSOR || t->kind == PAI_TYPE_SPARSE_TENSOR ||
			     t->kind == PAI_TYPE_MAP;
		bool more = t->kind == PAI_TYPE_SEQUENCE || t->kind == PAI_TYPE_OPTIONAL ||
			    t->kind == PAI_TYPE_MAP;
		if (t->kind == PAI_TYPE_UNKNOWN || (typed && t->dtype == PAI_UNDEFINED) ||
		    (more && !t->elem))
			return false;
	}
	return true;
}

/* Attributes without a form (sparse tensors, lists of types) stand in annotations. */
static bool attr_has_form(const pai_attr *a)
{
	if (a->ref)
		return true;
	switch (a->type) {
	case PAI_ATTR_UNDEFINED:
	case PAI_ATTR_SPARSE_TENSOR:
	case PAI_ATTR_SPARSE_TENSORS:
	case PAI_ATTR_TYPE_PROTOS:
		return false;
	case PAI_ATTR_TYPE_PROTO:
		return has_form(a->type_value);
	default:
		return true;
	}
}

/* Sparse initialisers stand in an annotation. */
static bool init_has_form(const pai_value *v)
{
	return !pai_origin_is(v->init->origin, &onnx__sparse_tensor_proto__descriptor);
}

/* ---- annotations ---- */

/* On a line of its own. */
static void note_head(text_out *o, enum text_subject_id who, const char *name, const char *key)
{
	text_line(o);
	text_puts(o, "#@ ");
	text_puts(o, text_subject_name(who));
	text_puts(o, " ");
	if (name) {
		if (text_is_id(name))
			text_puts(o, name);
		else
			text_put_quoted(o, name, strlen(name), true);
		text_puts(o, " ");
	}
	text_puts(o, key);
	text_puts(o, ": ");
}

static void note_props(text_out *o, enum text_subject_id who, const char *name,
		       const pai_props *props)
{
	if (!props->n)
		return;
	note_head(o, who, name, "metadata_props");
	for (int i = 0; i < props->n; i++) {
		text_puts(o, i ? ", " : "[");
		text_put_quoted(o, props->at[i].key, strlen(props->at[i].key), true);
		text_puts(o, ": ");
		text_put_quoted(o, props->at[i].value, strlen(props->at[i].value), true);
	}
	text_puts(o, "]");
}

/* Doc string and rest. */
static void note_origin(text_out *o, enum text_subject_id who, const char *name, const void *origin,
			bool whole)
{
	const char *rest = text_rest(o->scratch, who, origin, whole), *doc = text_doc(who, origin);
	if (rest) {
		note_head(o, who, name, "rest");
		text_put_string(o, rest);
	}
	pai_props props = text_meta(o->scratch, who, origin);
	note_props(o, who, name, &props);
	if (doc && !whole && who != TEXT_MODEL && who != TEXT_FUNCTION) {
		note_head(o, who, name, "doc_string");
		text_put_quoted(o, doc, strlen(doc), true);
	}
}

/* Other readers take only identifiers as names of tensors in attributes. */
static void tensor_notes(text_out *o, const pai_attr *a)
{
	const char *name = a->t->name;
	note_origin(o, TEXT_TENSOR, a->name, a->t->origin, false);
	if (!name || !*name || text_is_id(name))
		return;
	note_head(o, TEXT_TENSOR, a->name, "name");
	text_put_quoted(o, name, strlen(name), true);
}

static void node_notes(text_out *o, const pai_node *n)
{
	note_origin(o, TEXT_NODE, NULL, n->origin, false);
	note_props(o, TEXT_NODE, NULL, &n->props);
	for (int i = 0; i < n->n_attrs; i++) {
		const pai_attr *a = &n->attrs[i];
		note_origin(o, TEXT_ATTR, a->name, a->origin, !attr_has_form(a));
		if (a->type == PAI_ATTR_TENSOR && !a->ref && a->t)
			tensor_notes(o, a);
	}
}

static void graph_notes(text_out *o, const pai_graph *g)
{
	if (g->function) {
		note_origin(o, TEXT_FUNCTION, NULL, g->function->origin, false);
		note_props(o, TEXT_FUNCTION, NULL, &g->function->props);
	} else {
		note_origin(o, TEXT_GRAPH, NULL, g->origin, false);
	}
	note_props(o, TEXT_GRAPH, NULL, &g->props);
	for (int i = 0; i < g->values.n; i++) {
		const pai_value *v = g->values.at[i];
		if (v->dead)
			continue;
		note_origin(o, TEXT_VALUE, v->name, v->origin, false);
		if (v->init)
			note_origin(o, TEXT_INIT, v->name, v->init->origin, false);
	}
}

/* ---- attributes ---- */

static void put_graph(text_out *o, const pai_graph *g);

static void put_item(text_out *o, const pai_attr *a, int64_t i)
{
	switch (a->type) {
	case PAI_ATTR_FLOATS:
		text_put_float(o, a->list.f[i]);
		return;
	case PAI_ATTR_INTS:
		text_put_int(o, a->list.i[i]);
		return;
	case PAI_ATTR_STRINGS:
		text_put_quoted(o, a->list.s[i].at, a->list.s[i].n, false);
		return;
	case PAI_ATTR_TENSORS:
		text_put_tensor(o, a->list.t[i], false);
		return;
	case PAI_ATTR_GRAPHS:
		put_graph(o, a->list.g[i]);
		return;
	default:
		return;
	}
}

static void put_attr_value(text_out *o, const pai_attr *a)
{
	switch (a->type) {
	case PAI_ATTR_FLOAT:
		text_put_float(o, a->f);
		return;
	case PAI_ATTR_INT:
		text_put_int(o, a->i);
		return;
	case PAI_ATTR_STRING:
		text_put_quoted(o, a->s.at, a->s.n, false);
		return;
	case PAI_ATTR_TENSOR:
		text_put_tensor(o, a->t, true);
		return;
	case PAI_ATTR_GRAPH:
		put_graph(o, a->g);
		return;
	case PAI_ATTR_TYPE_PROTO:
		text_put_type(o, a->type_value);
		return;
	default:
		text_puts(o, "[");
		for (int64_t i = 0; i < a->list.n; i++) {
			text_puts(o, i ? ", " : "");
			put_item(o, a, i);
		}
		text_puts(o, "]");
	}
}

static void put_attr(text_out *o, const pai_attr *a)
{
	text_put_id(o, a->name);
	if (a->type) {
		text_puts(o, ": ");
		text_puts(o, text_attr_types[a->type]);
	}
	text_puts(o, " = ");
	if (a->ref) {
		text_puts(o, "@");
		text_put_id(o, a->ref);
	} else {
		put_attr_value(o, a);
	}
}

static void put_attrs(text_out *o, const pai_node *n)
{
	bool any = false;
	for (int i = 0; i < n->n_attrs; i++) {
		if (!attr_has_form(&n->attrs[i]))
			continue;
		text_puts(o, any ? ", " : " <");
		any = true;
		put_attr(o, &n->attrs[i]);
	}
	if (any)
		text_puts(o, ">");
}

/* ---- nodes ---- */

/* An omitted operand is "", and so is one at the end: it was written there. */
static void put_operands(text_out *o, pai_value *const *v, int n)
{
	for (int i = 0; i < n; i++) {
		if (i)
			text_puts(o, ", ");
		text_put_id(o, v[i] ? v[i]->name : "");
	}
}

static void put_domain(text_out *o, const char *domain)
{
	while (*domain) { /* parts that are identifiers, or the whole in quotes */
		const char *dot = strchrnul(domain, '.');
		char *part = pai_arena_strndup(o->scratch, domain, (size_t)(dot - domain));
		text_put_id(o, part);
		text_puts(o, ".");
		domain = *dot ? dot + 1 : dot;
		if (*dot && !*domain)
			text_puts(o, "\"\".");
	}
}

static void put_node(text_out *o, const pai_node *n)
{
	bool graphs = false;
	for (int i = 0; i < n->n_attrs; i++)
		graphs |= n->attrs[i].type == PAI_ATTR_GRAPH || n->attrs[i].type == PAI_ATTR_GRAPHS;
	if (*n->name) {
		text_puts(o, "[");
		text_put_id(o, n->name);
		text_puts(o, "] ");
	}
	put_operands(o, n->out, n->n_out);
	text_puts(o, n->n_out ? " = " : "= ");
	put_domain(o, n->domain);
	text_put_id(o, n->op_type);
	if (*n->overload) {
		text_puts(o, ":");
		text_put_id(o, n->overload);
	}
	if (!graphs)
		put_attrs(o, n);
	text_puts(o, " (");
	put_operands(o, n->in, n->n_in);
	text_puts(o, ")");
	if (graphs)
		put_attrs(o, n);
}

static void put_nodes(text_out *o, const pai_graph *g)
{
	text_puts(o, "{");
	o->depth++;
	if (!g->outer && !g->function)
		note_origin(o, TEXT_MODEL, NULL, g->model->origin, false);
	graph_notes(o, g);
	for (int i = 0; i < g->nodes.n; i++) {
		node_notes(o, g->nodes.at[i]);
		text_line(o);
		put_node(o, g->nodes.at[i]);
	}
	o->depth--;
	text_line(o);
	text_puts(o, "}");
}

/* ---- graphs ---- */

/* The type a value has in the file; what inference found is not written. */
static const pai_type *stated(const pai_value *v)
{
	const pai_type *t = v->inferred ? v->stated : &v->type;
	return t && has_form(t) ? t : NULL;
}

static void put_declaration(text_out *o, const char *name, const pai_type *type)
{
	if (!type) {
		text_put_untyped(o, name);
		return;
	}
	text_put_type(o, type);
	text_puts(o, " ");
	text_put_id(o, name);
}

static void put_interface(text_out *o, int n, pai_value *const *v)
{
	text_puts(o, "(");
	for (int i = 0; i < n; i++) {
		const pai_type *type = stated(v[i]);
		if (!type && v[i]->inferred && has_form(&v[i]->type))
			type = &v[i]->type;
		text_puts(o, i ? ", " : "");
		put_declaration(o, v[i]->name, type);
	}
	text_puts(o, ")");
}

typedef struct infos { /* what the file says about values inside, in its order */
	size_t n;
	Onnx__ValueInfoProto *const *at;
} infos;

static infos infos_of(const pai_graph *g)
{
	const void *function = g->function && !g->outer ? g->function->origin : NULL;
	if (pai_origin_is(function, &onnx__function_proto__descriptor)) {
		const Onnx__FunctionProto *p = function;
		return (infos){p->n_value_info, p->value_info};
	}
	if (pai_origin_is(g->origin, &onnx__graph_proto__descriptor)) {
		const Onnx__GraphProto *p = g->origin;
		return (infos){p->n_value_info, p->value_info};
	}
	return (infos){0, NULL};
}

/* Is the value of an entry still there? *v NULL: it never was, the entry is kept all the same. */
static bool is_listed(const pai_graph *g, const Onnx__ValueInfoProto *p, const pai_value **v)
{
	*v = p->name ? pai_map_get(g->names, p->name) : NULL;
	return p->name && *p->name && (!*v || (!(*v)->dead && (*v)->origin));
}

static void next_item(text_out *o, bool *any)
{
	text_puts(o, *any ? "," : "<");
	*any = true;
	text_line(o);
}

static void put_infos(text_out *o, const pai_graph *g, bool *any)
{
	infos list = infos_of(g);
	for (size_t i = 0; i < list.n; i++) {
		const Onnx__ValueInfoProto *p = list.at[i];
		const pai_value *v;
		if (!is_listed(g, p, &v))
			continue;
		pai_type type = {.rank = -1};
		if (!v && p->type)
			pai_import_type(o->ctx, o->scratch, p->type, &type);
		next_item(o, any);
		put_declaration(o, p->name, v ? stated(v) : has_form(&type) ? &type : NULL);
	}
}

static void put_inner(text_out *o, const pai_graph *g)
{
	bool any = false;
	text_line(o);
	o->depth++;
	for (int i = 0; i < g->inits.n; i++) {
		const pai_value *v = g->inits.at[i];
		if (!init_has_form(v))
			continue;
		next_item(o, &any);
		text_put_tensor_type(o, v->init);
		text_puts(o, " ");
		text_put_id(o, v->name);
		text_puts(o, " = ");
		text_put_contents(o, v->init);
	}
	put_infos(o, g, &any);
	o->depth--;
	text_line(o);
	text_puts(o, ">");
	text_line(o);
}

static bool has_inner(const pai_graph *g)
{
	infos list = infos_of(g);
	const pai_value *v;
	for (size_t i = 0; i < list.n; i++)
		if (is_listed(g, list.at[i], &v))
			return true;
	for (int i = 0; i < g->inits.n; i++)
		if (init_has_form(g->inits.at[i]))
			return true;
	return false;
}

static void put_graph(text_out *o, const pai_graph *g)
{
	text_put_untyped(o, g->name);
	text_puts(o, " ");
	put_interface(o, g->inputs.n, g->inputs.at);
	text_puts(o, " => ");
	put_interface(o, g->outputs.n, g->outputs.at);
	if (has_inner(g))
		put_inner(o, g);
	else
		text_puts(o, " ");
	put_nodes(o, g);
}

/* ---- functions and models ---- */

static void put_names(text_out *o, int n, pai_value *const *v)
{
	text_puts(o, "(");
	for (int i = 0; i < n; i++) {
		text_puts(o, i ? ", " : "");
		text_put_untyped(o, v[i]->name);
	}
	text_puts(o, ")");
}

static void put_opsets(text_out *o, const pai_opset *at, int n)
{
	text_puts(o, "opset_import: [");
	for (int i = 0; i < n; i++) {
		text_puts(o, i ? ", " : "");
		text_put_string(o, at[i].domain);
		text_puts(o, " : ");
		text_put_int(o, at[i].version);
	}
	text_puts(o, "]");
}

/* ",\n   key: " */
static void next_field(text_out *o, const char *key)
{
	text_puts(o, ",\n   ");
	text_puts(o, key);
	text_puts(o, ": ");
}

static void put_field(text_out *o, const char *key, const char *value)
{
	if (!value || !*value)
		return;
	next_field(o, key);
	text_put_string(o, value);
}

/* Inputs and outputs by name, and all stated types in one list. */
static void put_function_values(text_out *o, const pai_function *f)
{
	bool any = false;
	put_names(o, f->graph->inputs.n, f->graph->inputs.at);
	text_puts(o, " => ");
	put_names(o, f->graph->outputs.n, f->graph->outputs.at);
	o->depth++;
	if (has_inner(f->graph))
		text_puts(o, "\n");
	put_infos(o, f->graph, &any);
	o->depth--;
	text_puts(o, any ? "\n>\n" : "\n");
}

static void put_function(text_out *o, const pai_function *f)
{
	text_puts(o, "<\n   domain: ");
	text_put_string(o, f->domain);
	put_field(o, "overload", f->overload);
	text_puts(o, ",\n   ");
	put_opsets(o, f->opsets, f->n_opsets);
	put_field(o, "doc_string", text_doc(TEXT_FUNCTION, f->origin));
	text_puts(o, "\n>\n");
	text_put_id(o, f->name);
	text_puts(o, " ");
	for (int i = 0; i < f->n_attr_names + f->n_attrs; i++) {
		text_puts(o, i ? ", " : "<");
		if (i < f->n_attr_names)
			text_put_id(o, f->attr_names[i]);
		else
			put_attr(o, &f->attrs[i - f->n_attr_names]);
	}
	if (f->n_attr_names + f->n_attrs)
		text_puts(o, "> ");
	put_function_values(o, f);
	put_nodes(o, f->graph);
	text_puts(o, "\n");
}

static void put_model(text_out *o, const pai_model *m)
{
	text_puts(o, "<\n   ir_version: ");
	text_put_int(o, m->ir_version);
	text_puts(o, ",\n   ");
	put_opsets(o, m->opsets, m->n_opsets);
	put_field(o, "producer_name", m->producer_name);
	put_field(o, "producer_version", m->producer_version);
	put_field(o, "domain", m->domain);
	if (m->model_version) {
		next_field(o, "model_version");
		text_put_int(o, m->model_version);
	}
	put_field(o, "doc_string", m->doc);
	for (int i = 0; i < m->props.n; i++) {
		if (!i)
			next_field(o, "metadata_props");
		text_puts(o, i ? ", " : "[");
		text_put_string(o, m->props.at[i].key);
		text_puts(o, ": ");
		text_put_string(o, m->props.at[i].value);
	}
	text_puts(o, m->props.n ? "]\n>\n" : "\n>\n");
	put_graph(o, m->graph);
	text_puts(o, "\n");
	for (int i = 0; i < m->functions.n; i++)
		put_function(o, m->functions.at[i]);
}

static void print(text_out *o, const pai_model *m)
{
	o->ctx = m->ctx;
	o->scratch = pai_arena_new(m->ctx);
	text_locale locale = text_locale_begin();
	put_model(o, m);
	text_flush(o);
	text_locale_end(locale);
	pai_arena_free(o->scratch);
}

void pai_text_print(const pai_model *m, int64_t elide, void *payload,
		    void (*put_bytes)(void *payload, const char *s, size_t n))
{
	text_out o = {.elide = elide, .payload = payload, .put = put_bytes};
	print(&o, m);
}

void text_print_stored(const pai_model *m, const text_entries *stored, void *payload,
		       void (*put_bytes)(void *payload, const char *s, size_t n))
{
	text_out o = {.stored = stored, .payload = payload, .put = put_bytes};
	print(&o, m);
}
