/* test_golden_dendrites.c -- recipe=reference against the golden layers: a plain layer gets its
 * dendrites by the pass, their parameters are filled in, and output and gradients are compared.
 *
 * Running statistics after a step in training form are the training engine's and not looked at. */
#include "tests/unit/context.h"
#include "tests/unit/golden.h"
#include <math.h>

#define FOLDER PAI_TEST_DATA "/golden/dendrites/"

/* One golden layer and the model made of it. */
typedef struct layer {
	const char *id;
	const cJSON *params;
	arrays z;
	pai_arena *arena;
	pai_model *m;
	pai_patch *p;
	bool conv, matmul, norm, training;
	int n;
	pai_value *x, *dy, *y;
} layer;

static pai_value *add_input(layer *l, const char *name, const pai_tensor *like)
{
	pai_value *v = pai_graph_add_value(l->m->graph, name);
	v->is_input = true;
	v->type = (pai_type){.kind = PAI_TYPE_TENSOR,
			     .dtype = like->dtype,
			     .rank = like->rank,
			     .dims = pai_arena_dup(l->m->arena, like->dims,
						   sizeof(pai_dim) * (size_t)like->rank)};
	PAI_PUSH(l->m->arena, l->m->graph->inputs, v);
	return v;
}

/* A golden array as this model holds it: weights of a MatMul are transposed. */
static pai_tensor *as_held(const layer *l, const pai_tensor *t, const char *name)
{
	pai_tensor *out = pai_tensor_new(l->arena, t->dtype, t->rank, t->dims);
	pai_copy(out->data, t->data, t->nbytes);
	if (!l->matmul || !strstr(name, "weight") || t->rank != 2)
		return out;
	for (int64_t i = 0; i < t->dims[0]; i++)
		for (int64_t k = 0; k < t->dims[1]; k++)
			((float *)out->data)[k * t->dims[0] + i] =
				((float *)t->data)[i * t->dims[1] + k];
	int64_t rows = t->dims[0];
	out->dims[0] = t->dims[1];
	out->dims[1] = rows;
	return out;
}

static pai_value *add_init(layer *l, const char *name, const char *golden)
{
	pai_tensor *t = find(l->z, l->id, golden);
	if (!t)
		return NULL;
	pai_value *v = pai_patch_init(l->p, name, as_held(l, t, golden));
	pai_patch_name(l->p, v, name);
	return v;
}

static void set_pair(layer *l, pai_node *n, const char *name, const char *key, bool twice)
{
	const cJSON *list = cJSON_GetObjectItem(l->params, key), *item;
	int64_t v[8];
	int n_v = 0;
	for (int round = 0; round <= twice; round++)
		cJSON_ArrayForEach(item, list) v[n_v++] = item->valueint;
	pai_patch_set_ints(l->p, n, name, n_v, v);
}

static pai_value *head(layer *l)
{
	pai_value *in[3] = {l->x};
	in[1] = add_init(l, "w", l->norm ? "main.head.weight" : "main.weight");
	in[2] = add_init(l, "b", l->norm ? "main.head.bias" : "main.bias");
	if (l->matmul) {
		pai_node *n = pai_patch_node(l->p, "", "MatMul", "L", 2, in, 1);
		return in[2] ? PAI_OP2(l->p, "Add", "biased", n->out[0], in[2]) : n->out[0];
	}
	pai_node *n =
		pai_patch_node(l->p, "", l->conv ? "Conv" : "Gemm", "L", in[2] ? 3 : 2, in, 1);
	if (l->conv) {
		set_pair(l, n, "strides", "stride", false);
		set_pair(l, n, "pads", "padding", true);
		set_pair(l, n, "dilations", "dilation", false);
		pai_patch_set_int(l->p, n, "group",
				  cJSON_GetObjectItem(l->params, "groups")->valueint);
	} else {
		pai_patch_set_int(l->p, n, "transB", 1);
	}
	return n->out[0];
}

static pai_value *normalised(layer *l, pai_value *z)
{
	pai_value *in[5] = {z, add_init(l, "scale", "main.norm.weight"),
			    add_init(l, "shift", "main.norm.bias"),
			    add_init(l, "mean", "main.norm.running_mean"),
			    add_init(l, "var", "main.norm.running_var")};
	pai_node *n =
		pai_patch_node(l->p, "", "BatchNormalization", "bn", 5, in, l->training ? 3 : 1);
	if (l->training)
		pai_patch_set_int(l->p, n, "training_mode", 1);
	return n->out[0];
}

static void build(layer *l)
{
	pai_applied applied;
	l->m = pai_model_new(ctx, "g", 17);
	l->x = add_input(l, "x", find(l->z, l->id, "x"));
	l->dy = add_input(l, "dy", find(l->z, l->id, "dy"));
	l->p = pai_patch_new(l->m->graph);
	pai_patch_begin(l->p, NULL, "test");
	pai_value *y = head(l);
	if (l->norm)
		y = normalised(l, y);
	assert_int_equal(pai_patch_apply(l->p, -1, &applied), PAI_OK);
	y->is_output = true;
	PAI_PUSH(l->m->arena, l->m->graph->outputs, y);
	assert_int_equal(pai_infer(l->m), PAI_OK);
}

static void grow(layer *l)
{
	char text[128];
	pai_pipeline p;
	pai_pipeline_report report;
	snprintf(text, sizeof text, "add-dendrites{recipe=reference,count=%d,f=%s}", l->n,
		 cJSON_GetObjectItem(l->params, "f")->valuestring);
	if (l->n) {
		assert_int_equal(pai_pipeline_parse(ctx, l->arena, text, &p), PAI_OK);
		assert_int_equal(pai_pipeline_run(l->m, &p, NULL, l->arena, &report), PAI_OK);
	}
	l->y = l->m->graph->outputs.at[0];
}

typedef struct parameter {
	pai_value *value;
	const pai_tensor *grad; /* wanted, as held; NULL: none given */
} parameter;

typedef struct parameters {
	parameter at[64];
	int n;
} parameters;

/* Row `row` of a matrix, or all of the array. */
static const pai_tensor *row_of(const layer *l, const pai_tensor *t, int row)
{
	if (!t || row < 0)
		return t;
	pai_tensor *out = pai_tensor_new(l->arena, t->dtype, 1, &t->dims[1]);
	pai_copy(out->data, (char *)t->data + (size_t)row * out->nbytes, out->nbytes);
	return out;
}

/* Fills in the parameter `name` of the model and notes the gradient that it must get. */
static void fill(layer *l, parameters *ps, const char *name, const char *golden, int row)
{
	char grad[128];
	const pai_tensor *t = find(l->z, l->id, golden);
	pai_value *v = pai_graph_value(l->m->graph, name);
	if (!t) {
		assert_null(v);
		return;
	}
	assert_non_null(v);
	t = row_of(l, as_held(l, t, golden), row);
	assert_int_equal(pai_tensor_nelem(t), pai_tensor_nelem(v->init));
	pai_copy(v->init->data, t->data, t->nbytes);
	snprintf(grad, sizeof grad, "grad.%s", golden);
	const pai_tensor *g = find(l->z, l->id, grad);
	if (g)
		ps->at[ps->n++] = (parameter){v, row_of(l, as_held(l, g, grad), row)};
}

static void fill_dendrite(layer *l, parameters *ps, int j)
{
	static const char *const parts[][3] = {
		/* ours, golden, golden with a norm */
		{"weight", "weight", "head.weight"},
		{"bias", "bias", "head.bias"},
		{"norm.scale", "norm.weight", "norm.weight"},
		{"norm.bias", "norm.bias", "norm.bias"},
		{"norm.mean", "norm.running_mean", "norm.running_mean"},
		{"norm.var", "norm.running_var", "norm.running_var"}};
	char name[64], golden[64];
	for (int i = 0; i < 6; i++) {
		snprintf(name, sizeof name, "L.dendrite.%d.%s", j, parts[i][0]);
		snprintf(golden, sizeof golden, "d%d.%s", j, parts[i][1 + l->norm]);
		fill(l, ps, name, golden, -1);
	}
	snprintf(name, sizeof name, "L.dendrite.%d.top", j);
	fill(l, ps, name, "top", j);
	for (int i = 0; i < j; i++) {
		snprintf(name, sizeof name, "L.dendrite.%d.d2d.%d", j, i);
		snprintf(golden, sizeof golden, "d2d%d", j);
		fill(l, ps, name, golden, i);
	}
}

static int near(const cJSON *tolerance, const pai_tensor *got, const pai_tensor *want)
{
	double rtol = cJSON_GetObjectItem(tolerance, "rtol")->valuedouble;
	double atol = cJSON_GetObjectItem(tolerance, "atol")->valuedouble;
	const float *g = got->data, *w = want->data;
	if (pai_tensor_nelem(got) != pai_tensor_nelem(want))
		return 0;
	for (int64_t i = 0; i < pai_tensor_nelem(want); i++)
		if (!(fabs((double)g[i] - w[i]) <= atol + rtol * fabs(w[i])))
			return 0;
	return 1;
}

static int check(layer *l, const parameters *ps, const cJSON *tolerance)
{
	pai_value *wrt[65] = {l->x}, *grads[65], *keep[65];
	int n_keep = 0, failed = 0, which[65];
	for (int i = 0; i < ps->n; i++)
		wrt[i + 1] = ps->at[i].value;
	assert_int_equal(pai_infer(l->m), PAI_OK);
	assert_int_equal(pai_autodiff(l->m, 1, &l->y, &l->dy, ps->n + 1, wrt, grads), PAI_OK);
	assert_int_equal(pai_infer(l->m), PAI_OK);
	for (int i = 0; i <= ps->n; i++)
		if (grads[i]) {
			which[n_keep] = i;
			keep[n_keep++] = grads[i];
		}
	const pai_tensor *inputs[2] = {find(l->z, l->id, "x"), find(l->z, l->id, "dy")}, *out[66];
	pai_plan_options o = {
		.backend = PAI_REFERENCE, .threads = 1, .n_keep = n_keep, .keep = keep};
	pai_plan *plan;
	assert_int_equal(pai_plan_new(ctx, l->m->graph, 2, inputs, &o, &plan), PAI_OK);
	assert_int_equal(pai_plan_run(plan, inputs, out), PAI_OK);
	if (!near(tolerance, out[0], find(l->z, l->id, "y"))) {
		print_error("%s: output differs\n", l->id);
		failed++;
	}
	for (int k = 0; k < n_keep; k++) {
		int i = which[k];
		const pai_tensor *want = i ? ps->at[i - 1].grad : find(l->z, l->id, "grad.x");
		if (!near(tolerance, out[1 + k], want)) {
			print_error("%s: gradient of %s differs\n", l->id, wrt[i]->name);
			failed++;
		}
	}
	if (n_keep != ps->n + 1) {
		print_error("%s: %d of %d gradients\n", l->id, n_keep, ps->n + 1);
		failed++;
	}
	pai_plan_free(plan);
	return failed;
}

static int check_layer(const cJSON *c, arrays z)
{
	const cJSON *params = cJSON_GetObjectItem(c, "params");
	const char *kind = cJSON_GetObjectItem(c, "layer")->valuestring;
	parameters ps = {.n = 0};
	layer l = {.id = cJSON_GetObjectItem(c, "id")->valuestring,
		   .params = params,
		   .z = z,
		   .arena = pai_arena_new(ctx),
		   .conv = strncmp(kind, "conv", 4) == 0,
		   .matmul = strcmp(kind, "linear3d") == 0 || strcmp(kind, "linear_nobias") == 0,
		   .norm = strstr(kind, "bn") != NULL,
		   .training = cJSON_IsTrue(cJSON_GetObjectItem(params, "training")),
		   .n = cJSON_GetObjectItem(params, "n")->valueint};
	build(&l);
	grow(&l);
	fill(&l, &ps, "w", l.norm ? "main.head.weight" : "main.weight", -1);
	fill(&l, &ps, "b", l.norm ? "main.head.bias" : "main.bias", -1);
	fill(&l, &ps, "scale", "main.norm.weight", -1);
	fill(&l, &ps, "shift", "main.norm.bias", -1);
	for (int j = 0; j < l.n; j++)
		fill_dendrite(&l, &ps, j);
	int failed = check(&l, &ps, cJSON_GetObjectItem(c, "tolerance"));
	pai_model_free(l.m);
	pai_arena_free(l.arena);
	return failed;
}

static void golden_layers(void **state)
{
	(void)state;
	pai_arena *a = pai_arena_new(ctx);
	cJSON *index = read_index(ctx, a, FOLDER "layers.json");
	const arrays z = read_arrays(ctx, a, FOLDER "layers.npz");
	int cases = 0, failed = 0;
	const cJSON *c;
	cJSON_ArrayForEach(c, cJSON_GetObjectItem(index, "cases"))
	{
		failed += check_layer(c, z);
		cases++;
	}
	cJSON_Delete(index);
	pai_arena_free(a);
	print_message("%d layers\n", cases);
	assert_int_equal(failed, 0);
	assert_int_equal(cases, 73);
}

static int teardown(void **state)
{
	for (int i = 0; i < pai_diag_count(ctx); i++)
		print_error("%s\n", pai_diag_get(ctx, i)->text);
	return free_context(state);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(golden_layers)};
	return cmocka_run_group_tests(tests, make_context, teardown);
}
