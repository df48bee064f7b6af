/* test_import.c -- messages to graphs: how contents may be stored, in which order nodes may stand,
 * what a name means. */
#include "compiler/wire.h"
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

static pai_model *parse(pai_ctx *ctx, Onnx__GraphProto *g)
{
	Onnx__OperatorSetIdProto set = ONNX__OPERATOR_SET_ID_PROTO__INIT, *pset = &set;
	set.has_version = 1;
	set.version = 21;
	Onnx__ModelProto m = ONNX__MODEL_PROTO__INIT;
	m.has_ir_version = 1;
	m.ir_version = 10;
	m.graph = g;
	m.n_opset_import = 1;
	m.opset_import = &pset;
	static uint8_t buffer[65536];
	size_t n = onnx__model_proto__get_packed_size(&m);
	assert_true(n < sizeof buffer);
	onnx__model_proto__pack(&m, buffer);
	pai_model *out = NULL;
	pai_status s = pai_model_parse(ctx, "made.onnx", buffer, n, &out);
	for (int i = 0; i < pai_diag_count(ctx); i++)
		pai_diag_print(pai_diag_get(ctx, i), stderr, false);
	assert_int_equal(s, PAI_OK);
	return out;
}

static Onnx__TensorProto new_tensor(pai_dtype dtype, int64_t *n)
{
	Onnx__TensorProto t = ONNX__TENSOR_PROTO__INIT;
	t.name = (char *)"w";
	t.has_data_type = 1;
	t.data_type = (int32_t)dtype;
	t.n_dims = 1;
	t.dims = n;
	return t;
}

/* The same bytes as raw_data and as a list give the same tensor, of every type. */
static void test_lists(void **state)
{
	(void)state;
	static const uint8_t raw[160] = {1, 2, 3, 4, 5, 6, 7, 8, 250, 9, 128, 127, 11, 12, 13, 14};
	pai_ctx *ctx = pai_ctx_new(NULL);
	pai_arena *a = pai_arena_new(ctx);
	for (int d = 1; d < PAI_DTYPE_COUNT; d++) {
		const pai_dtype_info *info = pai_dtype_get(d);
		int64_t n = 10;
		size_t nbytes;
		if (d == PAI_STRING)
			continue;
		assert_true(pai_tensor_nbytes((pai_dtype)d, 1, &n, &nbytes));
		Onnx__TensorProto p = new_tensor((pai_dtype)d, &n), q = p;
		p.has_raw_data = 1;
		p.raw_data = (ProtobufCBinaryData){nbytes, (uint8_t *)raw};
		int32_t ints[20] = {0};
		uint64_t longs[20] = {0};
		size_t width = info->bits < 8 ? 1 : (size_t)info->bits / 8;
		if (d == PAI_FLOAT || d == PAI_COMPLEX64) {
			q.n_float_data = nbytes / 4;
			q.float_data = (float *)raw;
		} else if (d == PAI_DOUBLE || d == PAI_COMPLEX128) {
			q.n_double_data = nbytes / 8;
			q.double_data = (double *)raw;
		} else if (d == PAI_INT64) {
			q.n_int64_data = 10;
			q.int64_data = (int64_t *)raw;
		} else if (d == PAI_UINT32 || d == PAI_UINT64) {
			for (size_t i = 0; i < 10; i++)
				memcpy(&longs[i], raw + i * width, width);
			q.n_uint64_data = 10;
			q.uint64_data = longs;
		} else {
			for (size_t i = 0; i < nbytes / width; i++)
				memcpy(&ints[i], raw + i * width, width);
			q.n_int32_data = nbytes / width;
			q.int32_data = ints;
		}
		pai_tensor *t = NULL, *u = NULL;
		assert_int_equal(pai_import_tensor(ctx, a, pai_at_nothing(), &p, &t), PAI_OK);
		if (pai_import_tensor(ctx, a, pai_at_nothing(), &q, &u) != PAI_OK ||
		    !pai_tensor_equal(t, u))
			fail_msg("%s: the list gives another tensor", info->name);
		q.n_float_data = q.n_double_data = q.n_int64_data = q.n_uint64_data = 0;
		q.n_int32_data = 1; /* too few, or the wrong list */
		assert_int_equal(pai_import_tensor(ctx, a, pai_at_nothing(), &q, &u), PAI_INVALID);
	}
	pai_arena_free(a);
	pai_ctx_free(ctx);
}

static void test_tensor_file(void **state)
{
	(void)state;
	int64_t n = 2;
	uint8_t buffer[256];
	Onnx__TensorProto p = new_tensor(PAI_STRING, &n);
	ProtobufCBinaryData strings[] = {{3, (uint8_t *)"a\0b"}, {0, NULL}};
	p.n_string_data = 2;
	p.string_data = strings;
	size_t size = onnx__tensor_proto__pack(&p, buffer);
	pai_ctx *ctx = pai_ctx_new(NULL);
	pai_arena *a = pai_arena_new(ctx);
	pai_tensor *t = NULL;
	assert_int_equal(pai_tensor_parse(ctx, a, "input_0.pb", buffer, size, &t), PAI_OK);
	assert_string_equal(t->name, "w");
	const pai_str *s = t->data;
	assert_true(s[0].n == 3 && memcmp(s[0].at, "a\0b", 3) == 0 && s[1].n == 0);
	assert_int_equal(pai_tensor_parse(ctx, a, "input_0.pb", buffer, size - 1, &t), PAI_INVALID);
	assert_int_equal(pai_wire_check(ctx, "input_0.pb", "onnx.TensorProto", buffer, size),
			 PAI_OK);
	assert_int_equal(pai_wire_check(ctx, "input_0.pb", "onnx.ModelProto", buffer, size),
			 PAI_INVALID);
	pai_arena_free(a);
	pai_ctx_free(ctx);
}

typedef struct made_node {
	Onnx__NodeProto node;
	char *in[2], *out[1];
} made_node;

static Onnx__NodeProto *make_node(made_node *n, const char *op, const char *a, const char *b,
				  const char *out)
{
	onnx__node_proto__init(&n->node);
	n->in[0] = (char *)a;
	n->in[1] = (char *)b;
	n->out[0] = (char *)out;
	n->node.op_type = (char *)op;
	n->node.n_input = (size_t)(a != NULL) + (size_t)(b != NULL);
	n->node.input = n->in;
	n->node.n_output = 1;
	n->node.output = n->out;
	return &n->node;
}

static void test_any_order(void **state)
{
	(void)state;
	made_node n[3];
	Onnx__NodeProto *nodes[] = {make_node(&n[0], "Add", "b", "c", "d"),
				    make_node(&n[1], "Relu", "b", NULL, "c"),
				    make_node(&n[2], "Relu", "x", NULL, "b")};
	Onnx__ValueInfoProto x = ONNX__VALUE_INFO_PROTO__INIT, *px = &x;
	Onnx__ValueInfoProto d = ONNX__VALUE_INFO_PROTO__INIT, *pd = &d;
	x.name = (char *)"x";
	d.name = (char *)"d";
	Onnx__GraphProto g = ONNX__GRAPH_PROTO__INIT;
	g.n_node = 3;
	g.node = nodes;
	g.n_input = g.n_output = 1;
	g.input = &px;
	g.output = &pd;
	pai_ctx *ctx = pai_ctx_new(NULL);
	pai_model *m = parse(ctx, &g);
	static const char *const order[] = {"b", "c", "d"};
	for (int i = 0; i < 3; i++)
		assert_string_equal(m->graph->nodes.at[i]->out[0]->name, order[i]);
	assert_ptr_equal(m->graph->nodes.at[2]->in[1]->producer, m->graph->nodes.at[1]);
	assert_non_null(m->graph->nodes.at[0]->op);
	assert_true(m->graph->outputs.at[0]->is_output);
	pai_model_free(m);
	pai_ctx_free(ctx);
}

/* A subgraph reads outer names, may make a name anew that its node also makes, and may hand out an
 * outer value. */
static void test_scopes(void **state)
{
	(void)state;
	made_node inner, outer;
	Onnx__NodeProto *inside[] = {make_node(&inner, "Relu", "x", NULL, "y")};
	Onnx__ValueInfoProto x = ONNX__VALUE_INFO_PROTO__INIT, *px = &x;
	Onnx__ValueInfoProto y = ONNX__VALUE_INFO_PROTO__INIT, *py = &y;
	x.name = (char *)"x";
	y.name = (char *)"y";
	Onnx__GraphProto then = ONNX__GRAPH_PROTO__INIT, otherwise = ONNX__GRAPH_PROTO__INIT;
	then.n_node = then.n_output = otherwise.n_output = 1;
	then.node = inside;
	then.output = &py;
	otherwise.output = &px;
	Onnx__AttributeProto a = ONNX__ATTRIBUTE_PROTO__INIT, b = a;
	Onnx__AttributeProto *attrs[] = {&a, &b};
	a.name = (char *)"then_branch";
	b.name = (char *)"else_branch";
	a.has_type = b.has_type = 1;
	a.type = b.type = PAI_ATTR_GRAPH;
	a.g = &then;
	b.g = &otherwise;
	Onnx__NodeProto *nodes[] = {make_node(&outer, "If", "x", NULL, "y")};
	outer.node.n_attribute = 2;
	outer.node.attribute = attrs;
	Onnx__GraphProto g = ONNX__GRAPH_PROTO__INIT;
	g.n_node = g.n_input = g.n_output = 1;
	g.node = nodes;
	g.input = &px;
	g.output = &py;
	pai_ctx *ctx = pai_ctx_new(NULL);
	pai_model *m = parse(ctx, &g);
	pai_node *n = m->graph->nodes.at[0];
	pai_graph *t = pai_node_attr(n, "then_branch")->g, *e = pai_node_attr(n, "else_branch")->g;
	assert_ptr_equal(t->nodes.at[0]->in[0], m->graph->inputs.at[0]);
	assert_ptr_not_equal(t->outputs.at[0], n->out[0]);
	assert_ptr_equal(t->outputs.at[0]->producer, t->nodes.at[0]);
	assert_ptr_equal(e->outputs.at[0], m->graph->inputs.at[0]);
	assert_true(t->outer == m->graph && t->owner == n);
	pai_model_free(m);
	pai_ctx_free(ctx);
}

static const pai_tensor *sparse(pai_ctx *ctx, pai_model **m, Onnx__TensorProto *values,
				int64_t *dims, size_t rank, int64_t *at)
{
	int64_t two = 2;
	Onnx__TensorProto i = new_tensor(PAI_INT64, &two);
	i.n_int64_data = 2;
	i.int64_data = at;
	Onnx__SparseTensorProto s = ONNX__SPARSE_TENSOR_PROTO__INIT, *ps = &s;
	s.values = values;
	s.indices = &i;
	s.n_dims = rank;
	s.dims = dims;
	Onnx__GraphProto g = ONNX__GRAPH_PROTO__INIT;
	g.n_sparse_initializer = 1;
	g.sparse_initializer = &ps;
	*m = parse(ctx, &g);
	return (*m)->graph->inits.at[0]->init;
}

static void test_sparse(void **state)
{
	(void)state;
	int64_t two = 2, dims[] = {2, 3}, at[] = {1, 5};
	float values[] = {3, 4};
	Onnx__TensorProto v = new_tensor(PAI_FLOAT, &two);
	v.n_float_data = 2;
	v.float_data = values;
	pai_ctx *ctx = pai_ctx_new(NULL);
	pai_model *m;
	const pai_tensor *t = sparse(ctx, &m, &v, dims, 2, at);
	static const float want[] = {0, 3, 0, 0, 0, 4};
	assert_memory_equal(t->data, want, sizeof want);
	pai_arena *a = pai_arena_new(ctx);
	pai_store store = {.mode = PAI_EXTERNAL_NONE, .prefix = ""};
	Onnx__ModelProto *p = pai_build_model(a, m, &store);
	assert_true(p->graph->n_initializer == 0 && p->graph->n_sparse_initializer == 1);
	pai_arena_free(a);
	pai_model_free(m);
	pai_ctx_free(ctx);
}

/* Elements that are no whole bytes, and strings. */
static void test_sparse_of_other_types(void **state)
{
	(void)state;
	int64_t two = 2, dims[] = {5}, at[] = {1, 4};
	uint8_t raw[] = {0x21};
	static const uint8_t want[] = {0x10, 0x00, 0x02};
	pai_ctx *ctx = pai_ctx_new(NULL);
	pai_model *m;
	Onnx__TensorProto v = new_tensor(PAI_INT4, &two);
	v.has_raw_data = 1;
	v.raw_data = (ProtobufCBinaryData){sizeof raw, raw};
	const pai_tensor *t = sparse(ctx, &m, &v, dims, 1, at);
	assert_int_equal(t->nbytes, sizeof want);
	assert_memory_equal(t->data, want, sizeof want);
	pai_model_free(m);
	ProtobufCBinaryData words[] = {{3, (uint8_t *)"one"}, {3, (uint8_t *)"two"}};
	v = new_tensor(PAI_STRING, &two);
	v.n_string_data = 2;
	v.string_data = words;
	t = sparse(ctx, &m, &v, dims, 1, at);
	const pai_str *s = t->data;
	assert_true(s[0].at && s[0].n == 0 && s[1].n == 3 && memcmp(s[1].at, "one", 3) == 0);
	assert_true(s[3].at && s[3].n == 0 && s[4].n == 3 && memcmp(s[4].at, "two", 3) == 0);
	pai_model_free(m);
	pai_ctx_free(ctx);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_lists),     cmocka_unit_test(test_tensor_file),
		cmocka_unit_test(test_any_order), cmocka_unit_test(test_scopes),
		cmocka_unit_test(test_sparse),    cmocka_unit_test(test_sparse_of_other_types),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
