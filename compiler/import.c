/* import.c -- ModelProto to pai_model: names become values, nodes get their operator rows.
 *
 * The messages stay: every object points at the one it came from (its origin), strings and lists
 * are borrowed from them, and what is not looked at here is written back from there. Anything valid
 * is accepted, nodes in any order included; what cannot be represented is an error that names it.
 * What a node may look like is the verifier's business. Recursion is as deep as graphs nest, which
 * the scan of the bytes has limited.
 */
#include "compiler/ctx.h"
#include "compiler/patch.h"
#include "compiler/wire.h"
#include <inttypes.h>
#include <string.h>

typedef struct forward { /* a name that was read before it was made */
	pai_value *value;
	pai_node *node;
	int slot; /* -1: a graph output */
} forward;

typedef struct importer {
	pai_ctx *ctx;
	pai_model *m;
	pai_arena *arena; /* the model's */
	unsigned depth;   /* of subgraphs */
} importer;

typedef PAI_VEC(forward) forwards;

static const char *text(const char *s)
{
	return s ? s : "";
}

static pai_str bytes_of(const importer *im, ProtobufCBinaryData b)
{
	char *s = pai_arena_alloc(im->arena, b.len + 1); /* with a NUL, for who knows it is text */
	pai_copy(s, b.data, b.len);
	return (pai_str){s, b.len};
}

static pai_props props_of(const importer *im, size_t n, Onnx__StringStringEntryProto *const *at)
{
	pai_props props = {.n = (int)n, .cap = (int)n};
	props.at = PAI_NEWS(im->arena, pai_prop, n);
	for (size_t i = 0; i < n; i++)
		props.at[i] = (pai_prop){text(at[i]->key), text(at[i]->value)};
	return props;
}

static pai_opset *opsets_of(const importer *im, size_t n, Onnx__OperatorSetIdProto *const *at)
{
	pai_opset *sets = PAI_NEWS(im->arena, pai_opset, n);
	for (size_t i = 0; i < n; i++)
		sets[i] = (pai_opset){text(at[i]->domain), at[i]->version};
	return sets;
}

/* Where in the file a graph's part is, for messages before there is a value or node for it. */
static pai_where part(const importer *im, const pai_graph *g, const char *list, size_t i)
{
	const char *graph = g->function ? g->function->name : g->outer ? "subgraph" : "graph";
	return pai_at_byte(im->m->path, pai_arena_printf(im->arena, "%s.%s[%zu]", graph, list, i),
			   -1);
}

static pai_status import_graph(importer *im, const Onnx__GraphProto *p, pai_graph *g);

static pai_status import_subgraph(importer *im, pai_node *n, const Onnx__GraphProto *p,
				  pai_graph **out)
{
	if (++im->depth > im->ctx->limits.subgraph_depth)
		return pai_fail(im->ctx, PAI_E_limit, pai_at_node(n),
				"graphs nest deeper than the limit subgraph_depth of %" PRIu64,
				im->ctx->limits.subgraph_depth);
	pai_graph *g = pai_graph_new(im->m, n->graph, n, text(p->name));
	PAI_TRY(import_graph(im, p, g));
	im->depth--;
	*out = g;
	return PAI_OK;
}

/* Files of IR 1 leave the type to what is there. */
static int guess_type(const Onnx__AttributeProto *p)
{
	const struct {
		bool present;
		int type;
	} rows[] = {
		{p->has_f, PAI_ATTR_FLOAT},       {p->has_i, PAI_ATTR_INT},
		{p->has_s, PAI_ATTR_STRING},      {p->t, PAI_ATTR_TENSOR},
		{p->g, PAI_ATTR_GRAPH},           {p->n_floats, PAI_ATTR_FLOATS},
		{p->n_ints, PAI_ATTR_INTS},       {p->n_strings, PAI_ATTR_STRINGS},
		{p->n_tensors, PAI_ATTR_TENSORS}, {p->n_graphs, PAI_ATTR_GRAPHS},
	};
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
		if (rows[i].present)
			return rows[i].type;
	return PAI_ATTR_UNDEFINED;
}

static pai_status import_tensors(importer *im, pai_where at, size_t n,
				 Onnx__TensorProto *const *from, pai_attr *out)
{
	pai_tensor **t = PAI_NEWS(im->arena, pai_tensor *, n);
	for (size_t i = 0; i < n; i++)
		PAI_TRY(pai_import_tensor(im->ctx, im->arena, at, from[i], &t[i]));
	out->list.n = (int64_t)n;
	out->list.t = t;
	return PAI_OK;
}

static pai_status import_sparse_tensors(importer *im, pai_where at, size_t n,
					Onnx__SparseTensorProto *const *from, pai_attr *out)
{
	pai_tensor **t = PAI_NEWS(im->arena, pai_tensor *, n);
	for (size_t i = 0; i < n; i++)
		PAI_TRY(pai_import_sparse(im->ctx, im->arena, at, from[i], &t[i]));
	out->list.n = (int64_t)n;
	out->list.t = t;
	return PAI_OK;
}

static pai_status import_graphs(importer *im, pai_node *node, size_t n,
				Onnx__GraphProto *const *from, pai_attr *out)
{
	pai_graph **g = PAI_NEWS(im->arena, pai_graph *, n);
	for (size_t i = 0; i < n; i++)
		PAI_TRY(import_subgraph(im, node, from[i], &g[i]));
	out->list.n = (int64_t)n;
	out->list.g = g;
	return PAI_OK;
}

static const pai_str *import_strings(importer *im, size_t n, const ProtobufCBinaryData *from)
{
	pai_str *s = PAI_NEWS(im->arena, pai_str, n);
	for (size_t i = 0; i < n; i++)
		s[i] = bytes_of(im, from[i]);
	return s;
}

static pai_status import_value_of(importer *im, pai_node *node, const Onnx__AttributeProto *p,
				  pai_where at, pai_attr *out)
{
	switch (out->type) {
	case PAI_ATTR_UNDEFINED:
		break;
	case PAI_ATTR_FLOAT:
		out->f = p->f;
		break;
	case PAI_ATTR_INT:
		out->i = p->i;
		break;
	case PAI_ATTR_STRING:
		out->s = bytes_of(im, p->s);
		break;
	case PAI_ATTR_TENSOR:
		return p->t ? pai_import_tensor(im->ctx, im->arena, at, p->t, &out->t)
			    : pai_fail(im->ctx, PAI_E_model_part, at, "has no tensor");
	case PAI_ATTR_GRAPH:
		return p->g && node ? import_subgraph(im, node, p->g, &out->g)
				    : pai_fail(im->ctx, PAI_E_model_part, at, "has no graph");
	case PAI_ATTR_FLOATS:
		out->list.n = (int64_t)p->n_floats;
		out->list.f = p->floats;
		break;
	case PAI_ATTR_INTS:
		out->list.n = (int64_t)p->n_ints;
		out->list.i = p->ints;
		break;
	case PAI_ATTR_STRINGS:
		out->list.n = (int64_t)p->n_strings;
		out->list.s = import_strings(im, p->n_strings, p->strings);
		break;
	case PAI_ATTR_TENSORS:
		return import_tensors(im, at, p->n_tensors, p->tensors, out);
	case PAI_ATTR_GRAPHS:
		return node || !p->n_graphs ? import_graphs(im, node, p->n_graphs, p->graphs, out)
					    : pai_fail(im->ctx, PAI_E_unsupported_form, at,
						       "graphs as a default");
	case PAI_ATTR_SPARSE_TENSOR:
		return p->sparse_tensor
			       ? pai_import_sparse(im->ctx, im->arena, at, p->sparse_tensor,
						   &out->t)
			       : pai_fail(im->ctx, PAI_E_model_part, at, "has no sparse tensor");
	case PAI_ATTR_SPARSE_TENSORS:
		return import_sparse_tensors(im, at, p->n_sparse_tensors, p->sparse_tensors, out);
	case PAI_ATTR_TYPE_PROTO:
		out->type_value = PAI_NEW(im->arena, pai_type);
		out->type_value->rank = -1;
		if (p->tp)
			pai_import_type(im->ctx, im->arena, p->tp, out->type_value);
		break;
	case PAI_ATTR_TYPE_PROTOS: /* no operator has one; kept by the origin */
		break;
	}
	return PAI_OK;
}

/* node NULL: a default of a function's attribute. */
static pai_status import_attr(importer *im, pai_node *node, const Onnx__AttributeProto *p,
			      pai_where at, pai_attr *out)
{
	at.attr = text(p->name);
	if (!*at.attr)
		return pai_fail(im->ctx, PAI_E_model_part, at, "an attribute has no name");
	int type = p->has_type && p->type ? p->type : guess_type(p);
	if (type < 0 || type > PAI_ATTR_TYPE_PROTOS)
		return pai_fail(im->ctx, PAI_E_unsupported_form, at, "type %d does not exist",
				type);
	*out = (pai_attr){.name = p->name, .type = (pai_attr_type)type, .origin = p};
	if (p->ref_attr_name && *p->ref_attr_name) {
		out->ref = p->ref_attr_name;
		return PAI_OK;
	}
	return import_value_of(im, node, p, at, out);
}

static pai_status import_attrs(importer *im, pai_node *node, size_t n,
			       Onnx__AttributeProto *const *from, pai_where at, pai_attr **out)
{
	pai_attr *attrs = PAI_NEWS(im->arena, pai_attr, n);
	for (size_t i = 0; i < n; i++) {
		PAI_TRY(import_attr(im, node, from[i], at, &attrs[i]));
		for (size_t k = 0; k < i; k++) {
			if (strcmp(attrs[k].name, attrs[i].name) != 0)
				continue;
			at.attr = attrs[i].name;
			return pai_fail(im->ctx, PAI_E_duplicate_name, at, "is given twice");
		}
	}
	*out = attrs;
	return PAI_OK;
}

static bool is_defined(const pai_value *v)
{
	return v->producer || v->is_input || v->init;
}

static pai_value *read_name(importer *im, pai_graph *g, const char *name, forward use,
			    forwards *unmade)
{
	if (!*name)
		return NULL;
	pai_value *v = pai_graph_value(g, name);
	if (!v)
		v = pai_graph_add_value(g, name);
	if (v->graph == g && !is_defined(v)) {
		use.value = v;
		PAI_PUSH(im->arena, *unmade, use);
	}
	return v;
}

static pai_status import_outputs(importer *im, pai_node *n, const Onnx__NodeProto *p)
{
	for (int i = 0; i < n->n_out; i++) {
		const char *name = p->output[i];
		if (!*name)
			continue;
		pai_value *v = pai_map_get(n->graph->names, name);
		if (v && is_defined(v)) {
			pai_where at = pai_at_output(n, i);
			at.value = v;
			return pai_fail(im->ctx, PAI_E_duplicate_name, at, "is made twice");
		}
		if (!v)
			v = pai_graph_add_value(n->graph, name);
		v->producer = n;
		v->slot = i;
		n->out[i] = v;
	}
	return PAI_OK;
}

static pai_status import_node(importer *im, pai_graph *g, const Onnx__NodeProto *p, size_t index,
			      forwards *unmade)
{
	const char *overload = text(p->overload);
	if (!p->op_type || !*p->op_type)
		return pai_fail(im->ctx, PAI_E_model_part, part(im, g, "node", index),
				"has no operator");
	pai_node *n = pai_graph_add_node(g, text(p->domain), p->op_type, (int)p->n_input,
					 (int)p->n_output);
	n->origin = p;
	n->name = text(p->name);
	n->overload = overload;
	n->op = pai_node_row(n);
	pai_ctx_know_op(im->ctx, n->op);
	n->props = props_of(im, p->n_metadata_props, p->metadata_props);
	for (int i = 0; i < n->n_in; i++)
		n->in[i] = read_name(im, g, p->input[i], (forward){NULL, n, i}, unmade);
	/* before the outputs: a subgraph does not see them, and may use their names itself */
	PAI_TRY(import_attrs(im, n, p->n_attribute, p->attribute, pai_at_node(n), &n->attrs));
	n->n_attrs = (int)p->n_attribute;
	return import_outputs(im, n, p);
}

static pai_status import_input(importer *im, pai_graph *g, const char *name, pai_where at,
			       pai_value **out)
{
	if (!*name)
		return pai_fail(im->ctx, PAI_E_model_part, at, "has no name");
	if (pai_map_get(g->names, name))
		return pai_fail(im->ctx, PAI_E_duplicate_name, at, "\"%s\" is given twice",
				pai_escape(im->arena, name));
	pai_value *v = pai_graph_add_value(g, name);
	v->is_input = true;
	PAI_PUSH(im->arena, g->inputs, v);
	*out = v;
	return PAI_OK;
}

static void describe(importer *im, pai_value *v, const Onnx__ValueInfoProto *p)
{
	if (v->origin)
		return;
	v->origin = p;
	if (p->type)
		pai_import_type(im->ctx, im->arena, p->type, &v->type);
}

static void type_from(importer *im, pai_value *v, const pai_tensor *t)
{
	if (v->type.kind != PAI_TYPE_UNKNOWN)
		return;
	pai_dim *dims = PAI_NEWS(im->arena, pai_dim, t->rank);
	pai_copy(dims, t->dims, sizeof *dims * (size_t)t->rank);
	v->type = (pai_type){
		.kind = PAI_TYPE_TENSOR, .dtype = t->dtype, .rank = t->rank, .dims = dims};
}

static pai_status import_init(importer *im, pai_graph *g, const char *name, pai_where at,
			      pai_value **out)
{
	if (!name || !*name)
		return pai_fail(im->ctx, PAI_E_model_part, at, "has no name");
	pai_value *v = pai_map_get(g->names, name);
	if (v && v->init)
		return pai_fail(im->ctx, PAI_E_duplicate_name, at, "\"%s\" is given twice",
				pai_escape(im->arena, name));
	if (!v)
		v = pai_graph_add_value(g, name);
	PAI_PUSH(im->arena, g->inits, v);
	*out = v;
	return PAI_OK;
}

static pai_status import_inits(importer *im, const Onnx__GraphProto *p, pai_graph *g)
{
	pai_value *v = NULL;
	for (size_t i = 0; i < p->n_initializer; i++) {
		const Onnx__TensorProto *t = p->initializer[i];
		PAI_TRY(import_init(im, g, t->name, part(im, g, "initializer", i), &v));
		PAI_TRY(pai_import_tensor(im->ctx, im->arena, pai_at_value(v), t, &v->init));
		type_from(im, v, v->init);
	}
	for (size_t i = 0; i < p->n_sparse_initializer; i++) {
		const Onnx__SparseTensorProto *t = p->sparse_initializer[i];
		const char *name = t->values ? t->values->name : NULL;
		PAI_TRY(import_init(im, g, name, part(im, g, "sparse_initializer", i), &v));
		PAI_TRY(pai_import_sparse(im->ctx, im->arena, pai_at_value(v), t, &v->init));
		type_from(im, v, v->init);
	}
	return PAI_OK;
}

/* Names that were read before they were made must have been made by now. */
static pai_status settle(importer *im, pai_graph *g, const forwards *unmade)
{
	for (int i = 0; i < unmade->n; i++) {
		const forward *f = &unmade->at[i];
		if (is_defined(f->value))
			continue;
		pai_where at =
			f->slot < 0 ? pai_at_value(f->value) : pai_at_input(f->node, f->slot);
		return pai_fail(im->ctx, PAI_E_undefined_name, at,
				f->slot < 0 ? "a graph output that nothing makes"
					    : "is made by nothing");
	}
	if (!unmade->n)
		return PAI_OK;
	pai_arena *scratch = pai_arena_new(im->ctx);
	bool sorted = pai_order_nodes(scratch, g, 0, NULL);
	pai_arena_free(scratch);
	return sorted ? PAI_OK
		      : pai_fail(im->ctx, PAI_E_cyclic,
				 pai_at_input(unmade->at[0].node, unmade->at[0].slot),
				 "is made from itself");
}

static pai_status import_graph(importer *im, const Onnx__GraphProto *p, pai_graph *g)
{
	forwards unmade = {0};
	pai_value *v = NULL;
	g->origin = p;
	g->props = props_of(im, p->n_metadata_props, p->metadata_props);
	for (size_t i = 0; i < p->n_input; i++) {
		PAI_TRY(import_input(im, g, text(p->input[i]->name), part(im, g, "input", i), &v));
		describe(im, v, p->input[i]);
	}
	PAI_TRY(import_inits(im, p, g));
	for (size_t i = 0; i < p->n_node; i++)
		PAI_TRY(import_node(im, g, p->node[i], i, &unmade));
	for (size_t i = 0; i < p->n_output; i++) {
		v = read_name(im, g, text(p->output[i]->name), (forward){NULL, NULL, -1}, &unmade);
		if (!v)
			return pai_fail(im->ctx, PAI_E_model_part, part(im, g, "output", i),
					"has no name");
		if (v->graph == g) {
			v->is_output = true;
			describe(im, v, p->output[i]);
		}
		PAI_PUSH(im->arena, g->outputs, v);
	}
	for (size_t i = 0; i < p->n_value_info; i++) {
		v = pai_map_get(g->names, text(p->value_info[i]->name));
		if (v)
			describe(im, v, p->value_info[i]);
	}
	return settle(im, g, &unmade);
}

/* Registered before any node is imported: a node of that name is then a call. */
static pai_status declare_function(importer *im, const Onnx__FunctionProto *p, size_t i)
{
	pai_function *f = PAI_NEW(im->arena, pai_function);
	f->domain = text(p->domain);
	f->name = text(p->name);
	f->overload = text(p->overload);
	pai_where at =
		pai_at_byte(im->m->path, pai_arena_printf(im->arena, "functions[%zu]", i), -1);
	if (!*f->name)
		return pai_fail(im->ctx, PAI_E_model_part, at, "has no name");
	if (pai_model_function(im->m, f->domain, f->name, f->overload))
		return pai_fail(im->ctx, PAI_E_duplicate_name, at, "\"%s\" is given twice",
				pai_escape(im->arena, f->name));
	f->origin = p;
	f->attr_names = (const char **)p->attribute;
	f->n_attr_names = (int)p->n_attribute;
	f->opsets = opsets_of(im, p->n_opset_import, p->opset_import);
	f->n_opsets = (int)p->n_opset_import;
	f->props = props_of(im, p->n_metadata_props, p->metadata_props);
	f->graph = pai_graph_new(im->m, NULL, NULL, f->name);
	f->graph->function = f;
	pai_model_add_function(im->m, f);
	return PAI_OK;
}

static pai_status import_function(importer *im, pai_function *f)
{
	const Onnx__FunctionProto *p = f->origin;
	pai_graph *g = f->graph;
	forwards unmade = {0};
	pai_value *v = NULL;
	PAI_TRY(import_attrs(im, NULL, p->n_attribute_proto, p->attribute_proto,
			     pai_at_byte(im->m->path, f->name, -1), &f->attrs));
	f->n_attrs = (int)p->n_attribute_proto;
	for (size_t i = 0; i < p->n_input; i++)
		PAI_TRY(import_input(im, g, p->input[i], part(im, g, "input", i), &v));
	for (size_t i = 0; i < p->n_node; i++)
		PAI_TRY(import_node(im, g, p->node[i], i, &unmade));
	for (size_t i = 0; i < p->n_output; i++) {
		v = read_name(im, g, p->output[i], (forward){NULL, NULL, -1}, &unmade);
		if (!v)
			return pai_fail(im->ctx, PAI_E_model_part, part(im, g, "output", i),
					"has no name");
		v->is_output = true;
		PAI_PUSH(im->arena, g->outputs, v);
	}
	for (size_t i = 0; i < p->n_value_info; i++) {
		v = pai_map_get(g->names, text(p->value_info[i]->name));
		if (v)
			describe(im, v, p->value_info[i]);
	}
	return settle(im, g, &unmade);
}

static pai_status import_model(importer *im, const Onnx__ModelProto *p)
{
	pai_model *m = im->m;
	if (!p->graph)
		return pai_fail(im->ctx, PAI_E_model_part, pai_at_file(m->path),
				"has no graph: is it an ONNX model?");
	m->origin = p;
	m->ir_version = p->ir_version;
	m->opsets = opsets_of(im, p->n_opset_import, p->opset_import);
	m->n_opsets = (int)p->n_opset_import;
	if (!m->n_opsets) /* before IR 3 */
		pai_model_import(m, "", 1);
	m->producer_name = text(p->producer_name);
	m->producer_version = text(p->producer_version);
	m->domain = text(p->domain);
	m->doc = text(p->doc_string);
	m->model_version = p->model_version;
	m->props = props_of(im, p->n_metadata_props, p->metadata_props);
	m->graph->name = text(p->graph->name);
	for (size_t i = 0; i < p->n_functions; i++)
		PAI_TRY(declare_function(im, p->functions[i], i));
	for (int i = 0; i < m->functions.n; i++)
		PAI_TRY(import_function(im, m->functions.at[i]));
	return import_graph(im, p->graph, m->graph);
}

/* Text starts with printable characters only; the tag that they would make in a ModelProto is none
 * of its own, but for 'B', whose message goes on with control bytes. */
static bool is_text(const uint8_t *p, size_t n)
{
	size_t head = n < 64 ? n : 64;
	for (size_t i = 0; i < head; i++)
		if (p[i] < 0x20 ? !strchr("\t\n\r", p[i]) || !p[i] : p[i] == 0x7f)
			return false;
	return n && (p[0] >= 0x20 || p[0] == '\n' || p[0] == '\t' || p[0] == '\r');
}

pai_status pai_model_parse(pai_ctx *ctx, const char *name, const void *bytes, size_t n,
			   pai_model **out)
{
	if (is_text(bytes, n))
		return pai_text_parse(ctx, name, bytes, n, out);
	pai_model *m = pai_model_new(ctx, "", 0);
	m->path = pai_arena_strdup(m->arena, name);
	importer im = {.ctx = ctx, .m = m, .arena = m->arena};
	ProtobufCMessage *p = NULL;
	pai_status s = pai_wire_decode(ctx, m->arena, m->path, &onnx__model_proto__descriptor,
				       bytes, n, &p);
	if (s == PAI_OK)
		s = import_model(&im, (Onnx__ModelProto *)p);
	if (s != PAI_OK) {
		pai_model_free(m);
		return s;
	}
	*out = m;
	return PAI_OK;
}

static void free_arena(void *arena)
{
	pai_arena_free(arena);
}

pai_status pai_model_read(pai_ctx *ctx, const char *path, pai_model **out)
{
	pai_arena *of_file = pai_arena_new(ctx);
	pai_file file = {0};
	pai_model *m = NULL;
	pai_status s = pai_file_open(ctx, of_file, path, &file);
	if (s == PAI_OK)
		s = pai_model_parse(ctx, path, file.data, file.size, &m);
	if (s != PAI_OK) {
		pai_arena_free(of_file);
		return s;
	}
	m->source = file;
	pai_arena_defer(m->arena, free_arena, of_file);
	s = pai_external_read(m);
	if (s != PAI_OK) {
		pai_model_free(m);
		return s;
	}
	*out = m;
	return PAI_OK;
}
