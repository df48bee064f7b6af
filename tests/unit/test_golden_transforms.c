/* test_golden_transforms.c -- the transforms against the golden vectors of the reference: forward
 * bit for bit in compat=rockpool, gradients within their tolerance, and what a default kernel must
 * do. */
#include "tests/unit/context.h"
#include "tests/unit/golden.h"
#include <float.h>
#include <math.h>

#define FOLDER PAI_TEST_DATA "/golden/transforms/"

static double number_of(const cJSON *c, const char *key)
{
	const cJSON *item = cJSON_GetObjectItem(c, key);
	return cJSON_IsNumber(item) ? item->valuedouble : 0;
}

static const char *text_of(const cJSON *c, const char *key)
{
	const cJSON *item = cJSON_GetObjectItem(c, key);
	return cJSON_IsString(item) ? item->valuestring : NULL;
}

static bool flag(const cJSON *c, const char *key)
{
	return cJSON_IsTrue(cJSON_GetObjectItem(c, key));
}

static arrays open_npz(pai_arena *a, const char *name)
{
	return read_arrays(ctx, a, pai_arena_printf(a, FOLDER "%s", name));
}

/* A model with one transform node: inputs x and g (the upstream gradient), then u or two ranges. */
typedef struct unit {
	pai_model *m;
	pai_patch *p;
	pai_node *node;
	pai_value *in[3], *g;
	int n_in;
} unit;

static pai_value *add_input(unit *t, const char *name, const pai_tensor *like)
{
	pai_value *v = pai_graph_add_value(t->m->graph, name);
	v->is_input = true;
	v->type = (pai_type){.kind = PAI_TYPE_TENSOR,
			     .dtype = like->dtype,
			     .rank = like->rank,
			     .dims = pai_arena_dup(t->m->arena, like->dims,
						   sizeof(pai_dim) * (size_t)like->rank)};
	PAI_PUSH(t->m->arena, t->m->graph->inputs, v);
	return v;
}

/* extra: input 1 and 2, NULL where omitted. */
static unit unit_new(const char *op, const pai_tensor *x, const pai_tensor *const extra[2])
{
	unit t = {.m = pai_model_new(ctx, "g", 17)};
	pai_model_import(t.m, PAI_DOMAIN_TRANSFORM, 1);
	t.in[0] = add_input(&t, "x", x);
	t.n_in = 1;
	for (int i = 0; i < 2; i++)
		if (extra[i]) {
			t.in[i + 1] = add_input(&t, i ? "b" : "a", extra[i]);
			t.n_in = i + 2;
		}
	t.g = add_input(&t, "g", x);
	t.p = pai_patch_new(t.m->graph);
	pai_patch_begin(t.p, NULL, "test");
	t.node = pai_patch_node(t.p, PAI_DOMAIN_TRANSFORM, op, "y", t.n_in, t.in, 1);
	return t;
}

static void unit_finish(unit *t)
{
	pai_applied applied;
	assert_int_equal(pai_patch_apply(t->p, -1, &applied), PAI_OK);
	t->node->out[0]->is_output = true;
	PAI_PUSH(t->m->arena, t->m->graph->outputs, t->node->out[0]);
}

static void set_floats(pai_arena *a, pai_node *n, const char *name, const cJSON *range)
{
	if (!cJSON_IsArray(range))
		return;
	float *v = PAI_NEWS(a, float, 2);
	for (int i = 0; i < 2; i++)
		v[i] = (float)cJSON_GetArrayItem(range, i)->valuedouble;
	pai_attr *attrs = PAI_NEWS(a, pai_attr, n->n_attrs + 1);
	pai_copy(attrs, n->attrs, sizeof *attrs * (size_t)n->n_attrs);
	attrs[n->n_attrs] = (pai_attr){.name = name, .type = PAI_ATTR_FLOATS};
	attrs[n->n_attrs].list.n = 2;
	attrs[n->n_attrs].list.f = v;
	n->attrs = attrs;
	n->n_attrs++;
}

static void set_attributes(unit *t, const cJSON *params, bool ranges)
{
	static const char *const ints[] = {"maintain_zero", "map_to_max", "n_bits", "max_n_bits",
					   "num_levels"};
	for (size_t i = 0; i < sizeof ints / sizeof *ints; i++) {
		const cJSON *v = cJSON_GetObjectItem(params, ints[i]);
		if (v)
			pai_patch_set_int(t->p, t->node, ints[i],
					  cJSON_IsBool(v) ? cJSON_IsTrue(v) : v->valueint);
	}
	const cJSON *prob = cJSON_GetObjectItem(params, "dropout_prob");
	if (prob)
		pai_patch_set_float(t->p, t->node, "prob", (float)prob->valuedouble);
	if (!ranges)
		return;
	set_floats(t->m->arena, t->node, "input_range", cJSON_GetObjectItem(params, "input_range"));
	set_floats(t->m->arena, t->node, "output_range",
		   cJSON_GetObjectItem(params, "output_range"));
}

static bool same_bits(const pai_tensor *got, const pai_tensor *want)
{
	const float *g = got->data, *w = want->data;
	int64_t n = pai_tensor_nelem(want);
	if (got->rank != want->rank || pai_tensor_nelem(got) != n)
		return false;
	for (int64_t i = 0; i < n; i++)
		if (memcmp(&g[i], &w[i], sizeof *g) != 0 && !(isnan(g[i]) && isnan(w[i])))
			return false;
	return true;
}

static bool near(const pai_tensor *got, const pai_tensor *want, double tolerance, double scale)
{
	const float *g = got->data, *w = want->data;
	int64_t n = pai_tensor_nelem(want);
	if (pai_tensor_nelem(got) != n)
		return false;
	for (int64_t i = 0; i < n; i++)
		if (isfinite(w[i]) && fabs(w[i]) > scale)
			scale = fabs(w[i]);
	for (int64_t i = 0; i < n; i++) {
		if (!isfinite(w[i]) || !isfinite(g[i])) {
			if (memcmp(&g[i], &w[i], sizeof *g) != 0 && !(isnan(g[i]) && isnan(w[i])))
				return false;
		} else if (fabs((double)g[i] - w[i]) > tolerance * scale) {
			return false;
		}
	}
	return true;
}

/* Gradients by x and by inputs 1, 2 of the unit; wanted[i] says which. */
static pai_status gradients(unit *t, const pai_tensor *const data[4], const bool wanted[3],
			    pai_arena *a, pai_tensor *out[3])
{
	pai_value *wrt[3], *grads[3] = {0}, *keep[3];
	const pai_tensor *inputs[4], *results[4];
	int n_wrt = 0, n_inputs = 0, n_keep = 0, which[3];
	for (int i = 0; i < 3; i++)
		if (wanted[i]) {
			which[n_wrt] = i;
			wrt[n_wrt++] = t->in[i];
		}
	PAI_TRY(pai_infer(t->m));
	PAI_TRY(pai_autodiff(t->m, 1, &t->node->out[0], &t->g, n_wrt, wrt, grads));
	for (int i = 0; i < n_wrt; i++)
		if (grads[i])
			keep[n_keep++] = grads[i];
	for (int i = 0; i < 4; i++)
		if (data[i])
			inputs[n_inputs++] = data[i];
	pai_plan_options o = {
		.backend = PAI_REFERENCE, .threads = 1, .n_keep = n_keep, .keep = keep};
	pai_plan *plan;
	PAI_TRY(pai_infer(t->m));
	PAI_TRY(pai_plan_new(ctx, t->m->graph, n_inputs, inputs, &o, &plan));
	pai_status status = pai_plan_run(plan, inputs, results);
	for (int i = 0, k = 1; status == PAI_OK && i < n_wrt; i++) {
		if (!grads[i])
			continue;
		const pai_tensor *r = results[k++];
		out[which[i]] = pai_tensor_new(a, r->dtype, r->rank, r->dims);
		pai_copy(out[which[i]]->data, r->data, r->nbytes);
	}
	pai_plan_free(plan);
	return status;
}

static pai_tensor *range_tensor(pai_arena *a, const cJSON *range)
{
	if (!cJSON_IsArray(range))
		return NULL;
	pai_tensor *t = pai_tensor_new(a, PAI_FLOAT, 1, &(int64_t){2});
	for (int i = 0; i < 2; i++)
		((float *)t->data)[i] = (float)cJSON_GetArrayItem(range, i)->valuedouble;
	return t;
}

static const char *op_of(const char *rule)
{
	const pai_transform *t = pai_transform_find(rule);
	return t ? t->op_type : NULL;
}

typedef struct result {
	int forward, backward, raised, failed;
} result;

static void fail_case(result *r, const char *id, const char *what)
{
	print_error("%s: %s\n", id, what);
	for (int i = 0; i < pai_diag_count(ctx); i++)
		print_error("  %s\n", pai_diag_get(ctx, i)->text);
	pai_diag_clear(ctx);
	r->failed++;
}

static void check_range_gradients(result *r, const char *id, arrays z, pai_tensor *const got[3],
				  const cJSON *c)
{
	static const char *const names[2][2] = {{"g_in0", "g_in1"}, {"g_out0", "g_out1"}};
	double tolerance = number_of(c, "grad_tolerance");
	double scale = number_of(c, "grad_scale");
	for (int i = 0; i < 2; i++)
		for (int e = 0; e < 2; e++) {
			const pai_tensor *want = find(z, id, names[i][e]);
			if (!want)
				continue;
			pai_tensor end = *want;
			end.data = got[i + 1] ? (float *)got[i + 1]->data + e : NULL;
			if (!end.data || !near(&end, want, tolerance, scale))
				fail_case(r, id, names[i][e]);
		}
}

/* One case in compat=rockpool. */
static void check_case(const cJSON *c, arrays z, pai_arena *a, result *r)
{
	const char *id = text_of(c, "id"), *op = op_of(text_of(c, "op"));
	const cJSON *params = cJSON_GetObjectItem(c, "params");
	bool tensors = text_of(params, "range_kind") &&
		       strcmp(text_of(params, "range_kind"), "tensor") == 0;
	const pai_tensor *v = find(z, id, "v"), *u = find(z, id, "u"), *g = find(z, id, "g");
	const pai_tensor *extra[2] = {u, NULL};
	for (int i = 0; tensors && i < 2; i++)
		extra[i] = range_tensor(
			a, cJSON_GetObjectItem(params, i ? "output_range" : "input_range"));
	unit t = unit_new(op, v, extra);
	set_attributes(&t, params, !tensors);
	pai_patch_set_string(t.p, t.node, "compat", "rockpool");
	unit_finish(&t);
	const pai_tensor *in[3] = {v, extra[0], extra[1]};
	pai_tensor *y = NULL;
	pai_status status = pai_eval_node(ctx, a, t.node, in, 0, &y);
	const pai_tensor *want = find(z, id, "y");
	if (text_of(c, "raises")) { /* an error, or the sane result: as many elements */
		r->raised++;
		if (status == PAI_OK ? pai_tensor_nelem(y) != pai_tensor_nelem(v)
				     : status != PAI_INVALID)
			fail_case(r, id, "neither an error nor a result");
		pai_diag_clear(ctx);
		pai_model_free(t.m);
		return;
	}
	r->forward++;
	if (status != PAI_OK || !same_bits(y, want))
		fail_case(r, id, "forward differs");
	if (!flag(c, "grad_quirk")) {
		r->backward++;
		const pai_tensor *data[4] = {v, extra[0], extra[1], g};
		bool wanted[3] = {true, tensors && extra[0], tensors && extra[1]};
		pai_tensor *got[3] = {0};
		status = gradients(&t, data, wanted, a, got);
		if (status != PAI_OK || !got[0] ||
		    !near(got[0], find(z, id, "gv"), number_of(c, "grad_tolerance"),
			  number_of(c, "grad_scale")))
			fail_case(r, id, "gradient differs");
		else
			check_range_gradients(r, id, z, got, c);
	}
	pai_model_free(t.m);
}

static void check_op(const char *op, int want_cases)
{
	pai_arena *a = pai_arena_new(ctx);
	cJSON *index = read_index(ctx, a, FOLDER "index.json");
	char npz[64];
	snprintf(npz, sizeof npz, "%s.npz", op);
	arrays z = open_npz(a, npz);
	result r = {0};
	const cJSON *c;
	cJSON_ArrayForEach(c, cJSON_GetObjectItem(index, "cases"))
	{
		if (strcmp(text_of(c, "op"), op) == 0)
			check_case(c, z, a, &r);
	}
	cJSON_Delete(index);
	pai_arena_free(a);
	print_message("%s: %d forward, %d backward, %d that raise\n", op, r.forward, r.backward,
		      r.raised);
	assert_int_equal(r.failed, 0);
	assert_int_equal(r.forward + r.raised, want_cases);
}

static void golden_int_quant(void **state)
{
	(void)state;
	check_op("int_quant", 128);
}

static void golden_deterministic_rounding(void **state)
{
	(void)state;
	check_op("deterministic_rounding", 204);
}

static void golden_stochastic_rounding(void **state)
{
	(void)state;
	check_op("stochastic_rounding", 157);
}

static void golden_dropout(void **state)
{
	(void)state;
	check_op("dropout", 26);
}

/* The gradient of a default kernel is finite where that of the reference is not. */
static void default_gradients_are_finite(void **state)
{
	(void)state;
	pai_arena *a = pai_arena_new(ctx);
	cJSON *index = read_index(ctx, a, FOLDER "index.json");
	static const char *const ops[] = {"int_quant", "deterministic_rounding",
					  "stochastic_rounding"};
	const cJSON *c;
	int n = 0;
	for (int o = 0; o < 3; o++) {
		char npz[64];
		snprintf(npz, sizeof npz, "%s.npz", ops[o]);
		arrays z = open_npz(a, npz);
		cJSON_ArrayForEach(c, cJSON_GetObjectItem(index, "cases"))
		{
			const char *id = text_of(c, "id");
			if (strcmp(text_of(c, "op"), ops[o]) != 0 || !flag(c, "grad_quirk"))
				continue;
			const pai_tensor *v = find(z, id, "v"), *u = find(z, id, "u");
			const pai_tensor *extra[2] = {u, NULL};
			unit t = unit_new(op_of(ops[o]), v, extra);
			set_attributes(&t, cJSON_GetObjectItem(c, "params"), true);
			pai_patch_set_string(t.p, t.node, "grad", "ste_range");
			unit_finish(&t);
			const pai_tensor *data[4] = {v, u, NULL, find(z, id, "g")};
			pai_tensor *got[3] = {0};
			assert_int_equal(gradients(&t, data, (bool[3]){true}, a, got), PAI_OK);
			for (int64_t i = 0; i < pai_tensor_nelem(got[0]); i++)
				assert_true(isfinite(((float *)got[0]->data)[i]));
			pai_model_free(t.m);
			n++;
		}
	}
	assert_true(n >= 14);
	cJSON_Delete(index);
	pai_arena_free(a);
}

/* Properties of the default kernels. */

typedef struct setting {
	const char *name;
	int64_t value;
} setting;

static pai_tensor *apply(pai_arena *a, const char *op, const pai_tensor *v, const pai_tensor *u,
			 const setting *settings, int n, float prob)
{
	unit t = unit_new(op, v, (const pai_tensor *[2]){u, NULL});
	for (int i = 0; i < n; i++)
		pai_patch_set_int(t.p, t.node, settings[i].name, settings[i].value);
	if (strcmp(op, "WeightDropout") == 0)
		pai_patch_set_float(t.p, t.node, "prob", prob);
	unit_finish(&t);
	pai_tensor *y = NULL;
	assert_int_equal(pai_eval_node(ctx, a, t.node, (const pai_tensor *[2]){v, u}, 0, &y),
			 PAI_OK);
	pai_model_free(t.m);
	return y;
}

static pai_tensor *vector(pai_arena *a, int64_t n)
{
	return pai_tensor_new(a, PAI_FLOAT, 1, &n);
}

static pai_tensor *random_vector(pai_arena *a, int64_t n, uint64_t seed)
{
	pai_tensor *t = vector(a, n);
	pai_random r = pai_random_new(seed, 0, 0);
	for (int64_t i = 0; i < n; i++)
		((float *)t->data)[i] = pai_random_normal(&r, (uint64_t)i);
	return t;
}

static pai_tensor *uniform_vector(pai_arena *a, int64_t n, uint64_t seed)
{
	pai_tensor *t = vector(a, n);
	pai_random r = pai_random_new(seed, 1, 0);
	for (int64_t i = 0; i < n; i++)
		((float *)t->data)[i] = pai_random_uniform(&r, (uint64_t)i);
	return t;
}

static pai_tensor *scaled(pai_arena *a, const pai_tensor *v, float by)
{
	pai_tensor *t = vector(a, pai_tensor_nelem(v));
	for (int64_t i = 0; i < pai_tensor_nelem(v); i++)
		((float *)t->data)[i] = by * ((float *)v->data)[i];
	return t;
}

static float largest(const pai_tensor *t)
{
	float m = 0;
	for (int64_t i = 0; i < pai_tensor_nelem(t); i++)
		m = fmaxf(m, fabsf(((float *)t->data)[i]));
	return m;
}

static int by_value(const void *x, const void *y)
{
	float a = *(const float *)x, b = *(const float *)y;
	return a < b ? -1 : a > b;
}

static int64_t distinct(pai_arena *a, const pai_tensor *t)
{
	int64_t n = pai_tensor_nelem(t), count = n > 0;
	float *v = pai_arena_dup(a, t->data, t->nbytes);
	qsort(v, (size_t)n, sizeof *v, by_value);
	for (int64_t i = 1; i < n; i++)
		count += v[i] != v[i - 1];
	return count;
}

static void assert_monotone(const pai_tensor *v, const pai_tensor *y)
{
	const float *x = v->data, *z = y->data;
	for (int64_t i = 0; i < pai_tensor_nelem(v); i++)
		for (int64_t k = 0; k < pai_tensor_nelem(v); k++)
			assert_false(x[i] <= x[k] && z[i] > z[k]);
}

static bool equal_values(const pai_tensor *x, const pai_tensor *y)
{
	for (int64_t i = 0; i < pai_tensor_nelem(x); i++)
		if (((float *)x->data)[i] != ((float *)y->data)[i])
			return false;
	return true;
}

static const int64_t sizes[] = {1, 2, 7, 64};

static void properties_of_int_quant(void **state)
{
	(void)state;
	for (uint64_t trial = 0; trial < 40; trial++) {
		pai_arena *a = pai_arena_new(ctx);
		int64_t bits = 2 + (int64_t)trial % 7, q = (1 << (bits - 1)) - 1;
		pai_tensor *v = random_vector(a, sizes[trial % 4] + 1, trial);
		((float *)v->data)[0] = 0;
		setting s[3] = {{"n_bits", bits}};
		pai_tensor *y = apply(a, "IntQuant", v, NULL, s, 1, 0);
		assert_true(((float *)y->data)[0] == 0);
		for (int64_t i = 0; i < pai_tensor_nelem(y); i++)
			assert_true(rintf(((float *)y->data)[i]) == ((float *)y->data)[i]);
		assert_true(largest(y) == (float)q);
		assert_true(equal_values(y, apply(a, "IntQuant", y, NULL, s, 1, 0)));
		assert_true(equal_values(scaled(a, y, -1),
					 apply(a, "IntQuant", scaled(a, v, -1), NULL, s, 1, 0)));
		assert_true(equal_values(y, apply(a, "IntQuant", scaled(a, v, 4), NULL, s, 1, 0)));
		assert_monotone(v, y);
		s[1] = (setting){"map_to_max", 1};
		y = apply(a, "IntQuant", v, NULL, s, 2, 0);
		assert_true(distinct(a, y) <= (1 << bits) - 1);
		assert_true(largest(y) == 127);
		s[1] = (setting){"maintain_zero", 0};
		y = apply(a, "IntQuant", v, NULL, s, 2, 0);
		float low = 0, high = 0;
		for (int64_t i = 0; i < pai_tensor_nelem(y); i++) {
			low = fminf(low, ((float *)y->data)[i]);
			high = fmaxf(high, ((float *)y->data)[i]);
		}
		assert_true(low == (float)-q && high == (float)q);
		y = apply(a, "IntQuant", scaled(a, v, 0), NULL, s, 1, 0);
		assert_true(largest(y) == 0);
		assert_int_equal(
			pai_tensor_nelem(apply(a, "IntQuant", vector(a, 0), NULL, s, 1, 0)), 0);
		pai_arena_free(a);
	}
}

static void properties_of_rounding(void **state)
{
	(void)state;
	static const char *const ops[] = {"DeterministicRounding", "StochasticRounding"};
	static const int64_t levels[] = {2, 3, 4, 5, 15, 16, 255, 256};
	for (uint64_t trial = 0; trial < 64; trial++) {
		pai_arena *a = pai_arena_new(ctx);
		const char *op = ops[trial % 2];
		int64_t n = sizes[trial / 2 % 4] + 1, count = levels[trial / 8];
		pai_tensor *v = random_vector(a, n, trial), *u = NULL;
		if (trial % 2)
			u = uniform_vector(a, n, trial);
		((float *)v->data)[0] = 0;
		setting s[2] = {{"num_levels", count}, {"maintain_zero", 0}};
		pai_tensor *y = apply(a, op, v, u, s, 1, 0);
		float m = largest(v);
		assert_true(((float *)y->data)[0] == 0);
		assert_true(distinct(a, y) <= count);
		assert_true(largest(y) <= m * (1 + 1e-6f));
		if (!u) {
			assert_monotone(v, y);
			assert_true(equal_values(scaled(a, y, 4),
						 apply(a, op, scaled(a, v, 4), NULL, s, 1, 0)));
			if (count % 2) {
				assert_true(equal_values(y, apply(a, op, y, NULL, s, 1, 0)));
				assert_true(equal_values(
					scaled(a, y, -1),
					apply(a, op, scaled(a, v, -1), NULL, s, 1, 0)));
			}
		} else {
			float step = count == 2 ? m : m / (float)((count - 1) / 2);
			for (int64_t i = 0; i < n; i++)
				assert_true(fabsf(((float *)y->data)[i] - ((float *)v->data)[i]) <=
						    step * (1 + 2e-6f) ||
					    count == 2);
		}
		assert_true(largest(apply(a, op, scaled(a, v, 0), u, s, 1, 0)) == 0);
		pai_tensor *constant = vector(a, n);
		for (int64_t i = 0; i < n; i++)
			((float *)constant->data)[i] = 0.3f;
		assert_true(equal_values(constant, apply(a, op, constant, u, s, 2, 0)));
		y = apply(a, op, v, u, s, 2, 0);
		assert_true(distinct(a, y) <= count);
		pai_tensor *none = vector(a, 0), *scalar = pai_tensor_from_float(a, 0.25f);
		assert_int_equal(pai_tensor_nelem(apply(a, op, none, u ? none : NULL, s, 1, 0)), 0);
		y = apply(a, op, scalar, NULL, s, 1, 0);
		assert_int_equal(y->rank, 0);
		assert_true(*(float *)y->data == 0.25f || (u && count == 2));
		pai_arena_free(a);
	}
}

static void stochastic_rounding_is_unbiased(void **state)
{
	(void)state;
	pai_arena *a = pai_arena_new(ctx);
	int64_t n = 200000;
	pai_tensor *v = vector(a, n);
	for (int64_t i = 0; i < n; i++)
		((float *)v->data)[i] = i ? 0.3f : 1;
	pai_tensor *y = apply(a, "StochasticRounding", v, NULL, &(setting){"num_levels", 3}, 1, 0);
	double sum = 0;
	for (int64_t i = 1; i < n; i++)
		sum += ((float *)y->data)[i];
	assert_true(fabs(sum / (double)(n - 1) - 0.3) < 0.005);
	pai_arena_free(a);
}

static void properties_of_dropout(void **state)
{
	(void)state;
	pai_arena *a = pai_arena_new(ctx);
	int64_t n = 200000, zeros = 0;
	pai_tensor *v = random_vector(a, n, 3);
	pai_tensor *y = apply(a, "WeightDropout", v, NULL, NULL, 0, 0.3f);
	for (int64_t i = 0; i < n; i++) {
		float x = ((float *)v->data)[i], z = ((float *)y->data)[i];
		assert_true(z == x || z == 0);
		zeros += z == 0;
	}
	assert_true(fabs((double)zeros / (double)n - 0.3) < 0.005);
	assert_true(largest(apply(a, "WeightDropout", v, NULL, NULL, 0, 1)) == 0);
	y = apply(a, "WeightDropout", v, NULL, NULL, 0, 0);
	int64_t lost = 0;
	for (int64_t i = 0; i < n; i++)
		lost += ((float *)y->data)[i] != ((float *)v->data)[i];
	assert_true(lost <= 2); /* a uniform number of exactly 0: 1 in 2^24 */
	pai_arena_free(a);
}

/* Denormal and huge data, NaN and infinities: nothing finite becomes NaN. */
static void extremes_stay_finite(void **state)
{
	(void)state;
	static const char *const ops[] = {"IntQuant", "DeterministicRounding",
					  "StochasticRounding"};
	pai_arena *a = pai_arena_new(ctx);
	const float rows[][4] = {{FLT_MIN / 8, -FLT_MIN / 64, 0, FLT_MIN / 1000},
				 {FLT_MAX, -FLT_MAX, 1, 0},
				 {1, NAN, -0.5f, 0.25f},
				 {1, INFINITY, -INFINITY, 0.25f}};
	for (int o = 0; o < 3; o++)
		for (int row = 0; row < 4; row++)
			for (int zero = 0; zero < 2; zero++) {
				pai_tensor *v = vector(a, 4);
				memcpy(v->data, rows[row], sizeof rows[row]);
				setting s = {"maintain_zero", zero};
				pai_tensor *y = apply(a, ops[o], v, NULL, &s, 1, 0);
				for (int i = 0; i < 4; i++)
					assert_true(isfinite(((float *)y->data)[i]) ||
						    isnan(rows[row][i]));
			}
	pai_arena_free(a);
}

static void bad_attributes(void **state)
{
	(void)state;
	static const struct {
		const char *op, *name;
		int64_t value;
	} rows[] = {{"IntQuant", "n_bits", 1},
		    {"IntQuant", "n_bits", 25},
		    {"IntQuant", "max_n_bits", 1},
		    {"DeterministicRounding", "num_levels", 1},
		    {"DeterministicRounding", "num_levels", (int64_t)1 << 40},
		    {"StochasticRounding", "num_levels", -3}};
	pai_arena *a = pai_arena_new(ctx);
	pai_tensor *v = random_vector(a, 4, 1), *y;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		unit t = unit_new(rows[i].op, v, (const pai_tensor *[2]){NULL, NULL});
		pai_patch_set_int(t.p, t.node, rows[i].name, rows[i].value);
		unit_finish(&t);
		pai_diag_clear(ctx);
		assert_int_equal(pai_eval_node(ctx, a, t.node, (const pai_tensor *[1]){v}, 0, &y),
				 PAI_INVALID);
		assert_int_equal(pai_diag_get(ctx, 0)->code, PAI_E_transform_attribute);
		pai_model_free(t.m);
	}
	pai_arena_free(a);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(golden_int_quant),
		cmocka_unit_test(golden_deterministic_rounding),
		cmocka_unit_test(golden_stochastic_rounding),
		cmocka_unit_test(golden_dropout),
		cmocka_unit_test(default_gradients_are_finite),
		cmocka_unit_test(properties_of_int_quant),
		cmocka_unit_test(properties_of_rounding),
		cmocka_unit_test(stochastic_rounding_is_unbiased),
		cmocka_unit_test(properties_of_dropout),
		cmocka_unit_test(extremes_stay_finite),
		cmocka_unit_test(bad_attributes),
	};
	return cmocka_run_group_tests(tests, make_context, free_context);
}
