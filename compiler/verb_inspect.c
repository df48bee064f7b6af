/* verb_inspect.c -- pai-opt inspect MODEL: what is in it.
 *
 * Everything is gathered as JSON; the text is a view of it. There may be many nodes, so the object
 * of each is turned into text, or shown, as soon as it is made. Models that cannot be executed,
 * verified or inferred here are shown all the same: what is not known is "?". Floating-point
 * operations are counted as 2 for each multiply-add of convolutions and matrix products, which is
 * where the work is; other operators count 0. A parameter is an element of an initialiser or
 * Constant of a floating-point type or of at most 8 bits.
 */
#include "compiler/cli.h"
#include <stdlib.h>
#include <string.h>

typedef struct census {
	cli *c;
	const pai_model *m;
	const char *nodes_glob;
	FILE *nodes; /* their JSON so far; NULL: they are printed */
	cJSON *ops, *missing, *dendrites, *transforms;
	pai_map *ops_at, *missing_at; /* entries of ops and missing by name */
	int64_t n_nodes, n_params, n_inits;
	int64_t nbytes; /* of initialisers and Constants */
	pai_dim flops;
	bool any; /* node is written */
} census;

/* ---- figures ---- */

static pai_dim product(pai_ctx *ctx, const pai_type *t)
{
	pai_dim n = 1;
	if (t->kind != PAI_TYPE_TENSOR || t->rank < 0)
		return PAI_DIM_UNKNOWN;
	for (int i = 0; i < t->rank; i++)
		n = pai_dim_mul(ctx, n, t->dims[i]);
	return n;
}

/* Multiply-adds: elements of input or output `of` times what each one takes. */
typedef enum work_kind {
	WORK_CONV,       /* output elements x weights of one output channel */
	WORK_TRANSPOSED, /* input elements x weights of one input channel */
	WORK_PRODUCT,    /* output elements x summed axis of A */
} work_kind;

static const struct work { /* operators that are counted */
	const char *op;
	work_kind kind;
	int x, w; /* inputs */
} works[] = {
	{"Conv", WORK_CONV, 0, 1},
	{"ConvInteger", WORK_CONV, 0, 1},
	{"QLinearConv", WORK_CONV, 0, 3},
	{"ConvTranspose", WORK_TRANSPOSED, 0, 1},
	{"Gemm", WORK_PRODUCT, 0, 1},
	{"MatMul", WORK_PRODUCT, 0, 1},
	{"MatMulInteger", WORK_PRODUCT, 0, 1},
	{"QLinearMatMul", WORK_PRODUCT, 0, 3},
};

static pai_dim node_flops(pai_ctx *ctx, const pai_node *n)
{
	const struct work *k = NULL;
	for (size_t i = 0; i < sizeof works / sizeof *works; i++)
		if (pai_node_is(n, works[i].op))
			k = &works[i];
	if (!k)
		return 0;
	const pai_value *x = pai_node_in(n, k->x), *w = pai_node_in(n, k->w);
	const pai_value *y = pai_node_out(n, 0);
	if (!x || !w || !y)
		return PAI_DIM_UNKNOWN;
	if (k->kind == WORK_PRODUCT) {
		int rank = x->type.rank, axis = pai_node_int(n, "transA", 0) ? 0 : rank - 1;
		if (rank < 1)
			return PAI_DIM_UNKNOWN;
		pai_dim each = pai_dim_mul(ctx, 2, x->type.dims[axis]);
		return pai_dim_mul(ctx, each, product(ctx, &y->type));
	}
	pai_dim weights = product(ctx, &w->type);
	if (w->type.rank < 1 || weights < 0 || w->type.dims[0] <= 0)
		return PAI_DIM_UNKNOWN;
	const pai_value *of = k->kind == WORK_CONV ? y : x;
	return pai_dim_mul(ctx, 2 * (weights / w->type.dims[0]), product(ctx, &of->type));
}

static bool is_parameter(const pai_tensor *t)
{
	const pai_dtype_info *info = pai_dtype_get((int)t->dtype);
	bool small = info->kind == PAI_KIND_SIGNED || info->kind == PAI_KIND_UNSIGNED;
	return info->kind == PAI_KIND_FLOAT || (small && info->bits <= 8);
}

static void count_tensor(census *s, const pai_tensor *t)
{
	s->n_params += is_parameter(t) ? pai_tensor_nelem(t) : 0;
	s->nbytes += (int64_t)t->nbytes;
}

/* ---- JSON ---- */

static void add_dim(cJSON *to, const char *key, pai_ctx *ctx, pai_dim d)
{
	if (d >= 0)
		cJSON_AddNumberToObject(to, key, (double)d);
	else
		cJSON_AddStringToObject(to, key, pai_dim_text(ctx, d));
}

static void add_values(const census *s, pai_arena *a, cJSON *to, const char *key, int n,
		       pai_value *const *v)
{
	cJSON *list = cJSON_AddArrayToObject(to, key);
	for (int i = 0; i < n; i++) {
		cJSON *x = cJSON_CreateObject();
		cJSON_AddStringToObject(x, "name", v[i] ? v[i]->name : "");
		cJSON_AddStringToObject(x, "type",
					v[i] ? pai_type_text(s->m->ctx, a, &v[i]->type) : "");
		cJSON_AddItemToArray(list, x);
	}
}

/* Counts a name; `at` has the entries by name, since an object is searched from its start. */
static void bump(cJSON *counts, pai_map *at, const char *key)
{
	cJSON *x = pai_map_get(at, key);
	if (x)
		cJSON_SetNumberValue(x, x->valuedouble + 1);
	else
		pai_map_put(at, key, cJSON_AddNumberToObject(counts, key, 1));
}

static const char *op_text(const census *s, const pai_node *n)
{
	return *n->domain ? pai_arena_printf(s->c->arena, "%s.%s", n->domain, n->op_type)
			  : n->op_type;
}

/* What has metadata of ours: role, index, layer and so on. */
static void add_dendrite(const census *s, const pai_node *n)
{
	static const char prefix[] = "pai.dendrite.";
	cJSON *x = NULL;
	for (int i = 0; i < n->props.n; i++) {
		const pai_prop *p = &n->props.at[i];
		if (strncmp(p->key, prefix, sizeof prefix - 1) != 0)
			continue;
		if (!x) {
			x = cJSON_CreateObject();
			cJSON_AddStringToObject(x, "node", pai_node_label(n));
			cJSON_AddItemToArray(s->dendrites, x);
		}
		cJSON_AddStringToObject(x, p->key + sizeof prefix - 1, p->value);
	}
}

static void add_transform(const census *s, const pai_node *n)
{
	const pai_transform *t = pai_transform_of(n);
	if (!t)
		return;
	cJSON *x = cJSON_CreateObject();
	cJSON_AddStringToObject(x, "node", pai_node_label(n));
	cJSON_AddStringToObject(x, "transform", t->rule_name);
	const pai_value *in = pai_node_in(n, 0);
	cJSON_AddStringToObject(x, "of", in ? in->name : "");
	cJSON_AddItemToArray(s->transforms, x);
}

static int64_t node_parameters(const pai_node *n)
{
	int64_t count = 0;
	for (int i = 0; i < n->n_in; i++) {
		const pai_tensor *t = pai_value_constant(n->in[i]);
		count += t && is_parameter(t) ? pai_tensor_nelem(t) : 0;
	}
	return count;
}

static void count_node(census *s, const pai_node *n, const char *graph)
{
	const char *op = op_text(s, n);
	bool call = pai_model_function(s->m, n->domain, n->op_type, n->overload) != NULL;
	bool body = n->op && (n->op->traits & PAI_TRAIT_FUNCTION);
	(void)graph;
	s->n_nodes++;
	bump(s->ops, s->ops_at, op);
	if (!call && !body && (!n->op || !pai_op_kernel(n->op)))
		bump(s->missing, s->missing_at, op);
	s->flops = pai_dim_add(s->m->ctx, s->flops, node_flops(s->m->ctx, n));
	add_dendrite(s, n);
	add_transform(s, n);
	const pai_attr *value = pai_node_is(n, "Constant") ? pai_node_attr(n, "value") : NULL;
	if (value && value->type == PAI_ATTR_TENSOR && value->t)
		count_tensor(s, value->t);
}

static cJSON *node_json(const census *s, pai_arena *a, const pai_node *n, const char *graph)
{
	cJSON *x = cJSON_CreateObject();
	cJSON_AddStringToObject(x, "name", n->name);
	cJSON_AddStringToObject(x, "op", op_text(s, n));
	if (*graph)
		cJSON_AddStringToObject(x, "graph", graph);
	add_values(s, a, x, "inputs", n->n_in, n->in);
	add_values(s, a, x, "outputs", n->n_out, n->out);
	cJSON_AddNumberToObject(x, "parameters", (double)node_parameters(n));
	add_dim(x, "flops", s->m->ctx, node_flops(s->m->ctx, n));
	return x;
}

/* Calls visit for every node, those of subgraphs behind the node that has them. */
static void each_node(census *s, const pai_graph *g, const char *path,
		      void (*visit)(census *s, const pai_node *n, const char *graph))
{
	for (int i = 0; i < g->nodes.n; i++) {
		const pai_node *n = g->nodes.at[i];
		visit(s, n, path);
		for (int k = 0; k < n->n_attrs; k++) {
			const pai_attr *a = &n->attrs[k];
			const bool one = a->type == PAI_ATTR_GRAPH && a->g;
			if (!one && a->type != PAI_ATTR_GRAPHS)
				continue;
			const char *below =
				pai_arena_printf(s->c->arena, "%s%s%s.%s", path, *path ? "/" : "",
						 pai_node_label(n), a->name);
			if (one)
				each_node(s, a->g, below, visit);
			for (int64_t j = 0; !one && j < a->list.n; j++)
				each_node(s, a->list.g[j], below, visit);
		}
	}
}

static pai_status count_inits(void *payload, pai_graph *g)
{
	census *s = payload;
	for (int i = 0; i < g->inits.n; i++)
		count_tensor(s, g->inits.at[i]->init);
	s->n_inits += g->inits.n;
	return PAI_OK;
}

static void add_opsets(const census *s, cJSON *to)
{
	cJSON *list = cJSON_AddObjectToObject(to, "opsets");
	for (int i = 0; i < s->m->n_opsets; i++) {
		const pai_opset *o = &s->m->opsets[i];
		cJSON_AddNumberToObject(list, *o->domain ? o->domain : "ai.onnx",
					(double)o->version);
	}
}

static void write_node(census *s, const pai_node *n, const char *graph)
{
	if (s->nodes_glob && !pai_glob(s->nodes_glob, pai_node_label(n)))
		return;
	pai_arena *a = pai_arena_new(s->m->ctx);
	cJSON *x = node_json(s, a, n, graph);
	char *text = cJSON_PrintUnformatted(x);
	fprintf(s->nodes, "%s\n\t\t%s", s->any ? "," : "", text ? text : "null");
	s->any = true;
	cJSON_free(text);
	cJSON_Delete(x);
	pai_arena_free(a);
}

/* As text that is printed as it is. */
static cJSON *nodes_json(census *s)
{
	char *text = NULL;
	size_t size;
	cJSON *raw = cJSON_CreateRaw("[]");
	s->nodes = open_memstream(&text, &size);
	if (!s->nodes)
		return raw;
	fputs("[", s->nodes);
	each_node(s, s->m->graph, "", write_node);
	fputs(s->any ? "\n\t]" : "]", s->nodes);
	if (fclose(s->nodes) == 0 && raw) {
		cJSON_free(raw->valuestring);
		raw->valuestring = text; /* of the same malloc */
	} else {
		free(text);
	}
	return raw;
}

/* Without nodes where they are shown one by one. */
static cJSON *inspect(census *s, bool nodes)
{
	cli *c = s->c;
	const pai_model *m = s->m;
	cJSON *r = cJSON_CreateObject();
	cJSON_AddNumberToObject(r, "schema", 1);
	cJSON_AddStringToObject(r, "model", m->path ? m->path : "");
	cJSON_AddNumberToObject(r, "file_bytes", (double)m->source.size);
	cJSON_AddNumberToObject(r, "ir_version", (double)m->ir_version);
	add_opsets(s, r);
	cJSON_AddStringToObject(r, "producer", m->producer_name);
	add_values(s, c->arena, r, "inputs", m->graph->inputs.n, m->graph->inputs.at);
	add_values(s, c->arena, r, "outputs", m->graph->outputs.n, m->graph->outputs.at);
	if (nodes)
		cJSON_AddItemToObject(r, "nodes", nodes_json(s));
	s->ops = cJSON_AddObjectToObject(r, "operators");
	s->missing = cJSON_AddObjectToObject(r, "not_executable");
	s->ops_at = pai_map_new(c->arena);
	s->missing_at = pai_map_new(c->arena);
	s->dendrites = cJSON_AddArrayToObject(r, "dendrites");
	s->transforms = cJSON_AddArrayToObject(r, "transforms");
	each_node(s, m->graph, "", count_node);
	(void)pai_graph_walk(m->graph, count_inits, s);
	cJSON *functions = cJSON_AddArrayToObject(r, "functions");
	for (int i = 0; i < m->functions.n; i++) {
		const pai_function *f = m->functions.at[i];
		cJSON *x = cJSON_CreateObject();
		cJSON_AddStringToObject(x, "name", f->name);
		cJSON_AddStringToObject(x, "domain", f->domain);
		cJSON_AddNumberToObject(x, "nodes", f->graph->nodes.n);
		cJSON_AddItemToArray(functions, x);
	}
	cJSON_AddNumberToObject(r, "n_nodes", (double)s->n_nodes);
	cJSON_AddNumberToObject(r, "n_initializers", (double)s->n_inits);
	cJSON_AddNumberToObject(r, "parameters", (double)s->n_params);
	cJSON_AddNumberToObject(r, "weight_bytes", (double)s->nbytes);
	add_dim(r, "flops", m->ctx, s->flops);
	return r;
}

/* ---- text ---- */

static const char *get(pai_arena *a, const cJSON *x, const char *key)
{
	const cJSON *v = cJSON_GetObjectItemCaseSensitive(x, key);
	if (cJSON_IsNumber(v))
		return pai_arena_printf(a, "%.0f", v->valuedouble);
	return cJSON_IsString(v) ? pai_escape(a, v->valuestring) : "";
}

static void print_counts(cli *c, const char *title, const cJSON *counts)
{
	const cJSON *x;
	if (!cJSON_GetArraySize(counts))
		return;
	cli_print(c, "%-12s", title);
	cJSON_ArrayForEach(x, counts) cli_print(c, " %s %.0f%s", pai_escape(c->arena, x->string),
						x->valuedouble, x->next ? "," : "");
	cli_print(c, "\n");
}

static void print_values(cli *c, const char *title, const cJSON *list)
{
	const cJSON *x;
	cJSON_ArrayForEach(x, list) cli_print(c, "%-12s %s %s\n", title, get(c->arena, x, "type"),
					      get(c->arena, x, "name"));
}

static void print_node(census *s, const pai_node *node, const char *graph)
{
	cli *c = s->c;
	const char *sep = "";
	if (s->nodes_glob && !pai_glob(s->nodes_glob, pai_node_label(node)))
		return;
	pai_arena *a = pai_arena_new(c->ctx);
	cJSON *n = node_json(s, a, node, graph), *x;
	cli_print(c, "  %-28s %-20s ", get(a, n, "name"), get(a, n, "op"));
	cJSON_ArrayForEach(x, cJSON_GetObjectItem(n, "outputs"))
	{
		cli_print(c, "%s%s", sep, get(a, x, "type"));
		sep = ", ";
	}
	if (strcmp(get(a, n, "parameters"), "0") != 0)
		cli_print(c, "  parameters %s", get(a, n, "parameters"));
	if (strcmp(get(a, n, "flops"), "0") != 0)
		cli_print(c, "  flops %s", get(a, n, "flops"));
	if (*get(a, n, "graph"))
		cli_print(c, "  in %s", get(a, n, "graph"));
	cli_print(c, "\n");
	cJSON_Delete(n);
	pai_arena_free(a);
}

/* One line each, all its fields. */
static void print_list(cli *c, const char *title, const cJSON *list)
{
	const cJSON *x, *f;
	cJSON_ArrayForEach(x, list)
	{
		cli_print(c, "%-12s", title);
		cJSON_ArrayForEach(f, x)
			cli_print(c, " %s=%s", f->string, get(c->arena, x, f->string));
		cli_print(c, "\n");
	}
}

static void print_text(census *s, const cJSON *r)
{
	cli *c = s->c;
	cli_print(c, "%-12s %s, %s bytes, IR %s%s%s\n", "model", get(c->arena, r, "model"),
		  get(c->arena, r, "file_bytes"), get(c->arena, r, "ir_version"),
		  *get(c->arena, r, "producer") ? ", made by " : "", get(c->arena, r, "producer"));
	print_counts(c, "opsets", cJSON_GetObjectItem(r, "opsets"));
	print_values(c, "input", cJSON_GetObjectItem(r, "inputs"));
	print_values(c, "output", cJSON_GetObjectItem(r, "outputs"));
	cli_print(c, "%-12s %s nodes, %s initialisers\n", "graph", get(c->arena, r, "n_nodes"),
		  get(c->arena, r, "n_initializers"));
	each_node(s, s->m->graph, "", print_node);
	print_counts(c, "operators", cJSON_GetObjectItem(r, "operators"));
	print_counts(c, "no kernel", cJSON_GetObjectItem(r, "not_executable"));
	print_list(c, "function", cJSON_GetObjectItem(r, "functions"));
	print_list(c, "dendrite", cJSON_GetObjectItem(r, "dendrites"));
	print_list(c, "transform", cJSON_GetObjectItem(r, "transforms"));
	cli_print(c, "%-12s %s, %s bytes\n", "parameters", get(c->arena, r, "parameters"),
		  get(c->arena, r, "weight_bytes"));
	cli_print(c, "%-12s %s\n", "flops", get(c->arena, r, "flops"));
}

/* ---- the verb ---- */

/* Shapes as far as they can be told; why not further is a note, not an error. */
static void infer(cli *c, pai_model *m)
{
	void (*show)(void *payload, const pai_diag *d) = c->ctx->on_diag;
	c->ctx->on_diag = NULL;
	pai_status status = pai_infer(m);
	c->ctx->on_diag = show;
	int n = pai_diag_count(c->ctx);
	if (status != PAI_OK && n)
		pai_note(c->ctx, pai_at_file(m->path), "shapes are shown as far as known: %s: %s",
			 pai_diag_get(c->ctx, n - 1)->where, pai_diag_get(c->ctx, n - 1)->text);
}

static pai_status show(cli *c, pai_model *m)
{
	PAI_TRY(cli_fix_dims(c, m));
	infer(c, m);
	census s = {.c = c, .m = m, .nodes_glob = cli_get(c, "nodes")};
	const bool json = cli_has(c, "json");
	cJSON *r = inspect(&s, json || c->report);
	if (json)
		cli_print_json(c, r);
	else
		print_text(&s, r);
	if (c->report)
		cJSON_AddItemToObject(c->report, "inspect", r);
	else
		cJSON_Delete(r);
	return PAI_OK;
}

static pai_status run(cli *c)
{
	pai_model *m;
	PAI_TRY(pai_model_read(c->ctx, c->args[0], &m));
	pai_status status = show(c, m);
	pai_model_free(m);
	return status;
}

static const cli_option options[] = {
	{"json", NULL, "as JSON"},
	{"nodes", "GLOB", "list only nodes of that name"},
	{NULL, NULL, NULL},
};

const cli_verb cli_verb_inspect = {
	.name = "inspect",
	.summary = "show nodes, shapes, parameters, work, dendrites, transforms, opsets",
	.usage = "MODEL [--json]",
	.examples = "  pai-opt inspect model.onnx\n"
		    "  pai-opt inspect model.onnx --dim N=32 --nodes='conv*'\n",
	.options = options,
	.min_args = 1,
	.max_args = 1,
	.run = run,
};
