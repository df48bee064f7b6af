/* test_kernels.c -- random numbers against published vectors, corners of the elementwise kernels,
 * and every gradient rule of theirs against central differences on seeded random shapes. */
#include "runtime/kernels/quantized.h"
#include "tests/unit/context.h"
#include <math.h>

/* Known answers of Random123 for philox4x32-10: counter, key, result. */
static void philox_vectors(void **state)
{
	static const struct {
		uint32_t counter[4], key[2], want[4];
	} rows[] = {
		{{0, 0, 0, 0}, {0, 0}, {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
		{{0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff},
		 {0xffffffff, 0xffffffff},
		 {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}},
		{{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344},
		 {0xa4093822, 0x299f31d0},
		 {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}},
	};
	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		pai_random r;
		uint32_t got[4];
		memcpy(r.counter, rows[i].counter, sizeof r.counter);
		memcpy(r.key, rows[i].key, sizeof r.key);
		pai_random_block(&r, 0, got);
		assert_memory_equal(got, rows[i].want, sizeof got);
	}
}

static void random_streams(void **state)
{
	enum { N = 20000 };
	(void)state;
	pai_random r = pai_random_new(7, 3, 1), other = pai_random_new(7, 3, 2);
	double sum = 0, sum_normal = 0, square = 0;
	float block[N];
	int same = 0;
	pai_random_uniforms(&r, 5, N, block);
	for (int i = 0; i < N; i++) {
		float u = pai_random_uniform(&r, (uint64_t)i + 5);
		double z = (double)pai_random_normal(&r, (uint64_t)i);
		assert_true(u == block[i] && u >= 0 && u < 1);
		same += u == pai_random_uniform(&other, (uint64_t)i + 5);
		sum += (double)u;
		sum_normal += z;
		square += z * z;
	}
	assert_true(same < 10);
	assert_true(fabs(sum / N - 0.5) < 0.01);
	assert_true(fabs(sum_normal / N) < 0.03 && fabs(square / N - 1) < 0.05);
}

static void need(pai_status status)
{
	must(status, "call");
}

/* Outputs of a model without inputs, as numbers or as the code of an error. */
static void corners(void **state)
{
	static const struct {
		const char *opset, *body, *init; /* y = <body>, of the initialisers */
		pai_status status;
		int n;
		double want[8];
	} rows[] = {
		{"17", "Div(a, b)", "int32[2] a = {7, -7}, int32[1] b = {0}", PAI_INVALID, 0, {0}},
		{"17",
		 "Div(a, b)",
		 "int64[2] a = {-9223372036854775808, -7}, int64[1] b = {-1}",
		 PAI_OK,
		 2,
		 {-0x1p63, 7}},
		{"17",
		 "Div(a, b)",
		 "int8[3] a = {-128, -7, 7}, int8[3] b = {-1, 2, -2}",
		 PAI_OK,
		 3,
		 {-128, -3, -3}},
		{"17",
		 "Add(a, b)",
		 "uint8[2] a = {250, 1}, uint8[2] b = {10, 2}",
		 PAI_OK,
		 2,
		 {4, 3}},
		{"17", "Neg(a)", "int16[2] a = {-32768, 5}", PAI_OK, 2, {-32768, -5}},
		{"17", "Abs(a)", "int64[1] a = {-9223372036854775808}", PAI_OK, 1, {-0x1p63}},
		{"6",
		 "Add<broadcast = 1, axis = 0>(a, b)",
		 "float[2,2] a = {1, 2, 3, 4}, float[2] b = {10, 20}",
		 PAI_OK,
		 4,
		 {11, 12, 23, 24}},
		{"6",
		 "Add<broadcast = 1>(a, b)",
		 "float[2,2] a = {1, 2, 3, 4}, float[2] b = {10, 20}",
		 PAI_OK,
		 4,
		 {11, 22, 13, 24}},
		{"17",
		 "Max(a, b, c)",
		 "float[2] a = {1, 5}, float b = {2}, float[2,1] c = {0, 9}",
		 PAI_OK,
		 4,
		 {2, 5, 9, 9}},
		{"17", "Min(a)", "float16[2] a = {15360, 17664}", PAI_OK, 2, {1, 5}},
		{"17",
		 "Pow(a, b)",
		 "int32[3] a = {-2, 1, 3}, int32[3] b = {3, -1, -1}",
		 PAI_OK,
		 3,
		 {-8, 1, 0}},
		{"17",
		 "Clip(a, b, c)",
		 "int64[3] a = {-9223372036854775807, 0, 9223372036854775807}, int64 b = {-5}, "
		 "int64 c = {5}",
		 PAI_OK,
		 3,
		 {-5, 0, 5}},
		{"17",
		 "Clip(a, b, c)",
		 "float[2] a = {0, 9}, float b = {5}, float c = {1}",
		 PAI_OK,
		 2,
		 {1, 1}},
		{"17", "Round(a)", "float[4] a = {0.5, 1.5, 2.5, -0.5}", PAI_OK, 4, {0, 2, 2, 0}},
		{"17", "Softmax(a)", "float[3] a = {1000, 1000, -1000}", PAI_OK, 3, {0.5, 0.5, 0}},
		{"17",
		 "Equal(a, b)",
		 "string[2] a = {\"x\", \"yy\"}, string[1] b = {\"yy\"}",
		 PAI_OK,
		 2,
		 {0, 1}},
		{"18",
		 "ReduceMax<keepdims = 0>(a, b)",
		 "int8[2,2] a = {-1, -2, -3, -4}, int64[1] b = {1}",
		 PAI_OK,
		 2,
		 {-1, -3}},
		{"17",
		 "ArgMax<select_last_index = 1, axis = 0, keepdims = 0>(a)",
		 "float[4] a = {1, 3, 3, 2}",
		 PAI_OK,
		 1,
		 {2}},
		{"17",
		 "Cast<to = 7>(a)",
		 "float[3] a = {1e30, -1e30, -2.9}",
		 PAI_OK,
		 3,
		 {0x1p63, -0x1p63, -2}},
		{"21",
		 "QuantizeLinear(a, b, c)",
		 "float[6] a = {0.5, 1.5, 2.5, 300, -300, -0.5}, float b = {1}, int8 c = {0}",
		 PAI_OK,
		 6,
		 {0, 2, 2, 127, -128, 0}},
		{"21",
		 "QuantizeLinear<axis = 1, block_size = 2>(a, b)",
		 "float[1,4] a = {2, 4, 30, 60}, float[1,2] b = {2, 10}",
		 PAI_OK,
		 4,
		 {1, 2, 3, 6}},
		{"17",
		 "QuantizeLinear<axis = 0>(a, b)",
		 "float[4] a = {2, 4, 30, 60}, float[3] b = {2, 1, 1}",
		 PAI_INVALID,
		 0,
		 {0}},
		{"17",
		 "SoftmaxCrossEntropyLoss<ignore_index = 0>(a, b)",
		 "float[2,2] a = {0, 0, 0, 0}, int64[2] b = {-1, 1}",
		 PAI_INVALID,
		 0,
		 {0}},
		{"18",
		 "ScatterElements<reduction = \"mul\">(a, b, c)",
		 "uint8[2] a = {200, 3}, int64[2] b = {0, 0}, uint8[2] c = {2, 2}",
		 PAI_OK,
		 2,
		 {32, 3}},
		{"18",
		 "ScatterND<reduction = \"add\">(a, b, c)",
		 "int8[2] a = {100, 3}, int64[1,1] b = {0}, int8[1] c = {100}",
		 PAI_OK,
		 2,
		 {-56, 3}},
		{"18",
		 "ReduceMax<keepdims = 0>(a, b)",
		 "int8[0,1] a = {}, int64[1] b = {0}",
		 PAI_OK,
		 1,
		 {-128}},
		{"18",
		 "ReduceMin<keepdims = 0>(a, b)",
		 "int32[0,1] a = {}, int64[1] b = {0}",
		 PAI_OK,
		 1,
		 {INT32_MAX}},
		{"18",
		 "ReduceLogSumExp<keepdims = 0>(a)",
		 "double[2] a = {1, inf}",
		 PAI_OK,
		 1,
		 {INFINITY}},
		{"13",
		 "Slice(a, b, c, d, e)",
		 "float[3] a = {1, 2, 3}, int64[1] b = {-9}, int64[1] c = {-9}, int64[1] d = {0}, "
		 "int64[1] e = {-1}",
		 PAI_OK,
		 1,
		 {1}},
		{"10",
		 "Resize(a, b)",
		 "float[1,1,2,4] a = {1, 2, 3, 4, 5, 6, 7, 8}, float[4] b = {1, 1, 0.6, 0.6}",
		 PAI_OK,
		 2,
		 {1, 3}},
		{"11",
		 "Resize<mode = \"linear\", "
		 "coordinate_transformation_mode = \"tf_half_pixel_for_nn\">(a, b, c)",
		 "float[1,2] a = {0, 4}, float[0] b = {}, float[2] c = {1, 2}",
		 PAI_OK,
		 4,
		 {1, 3, 4, 4}},
		{"13",
		 "Resize<coordinate_transformation_mode = \"asymmetric\", nearest_mode = \"floor\">"
		 "(a, b, c)",
		 "float[10] a = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9}, float[0] b = {}, float[1] c = "
		 "{0.7}",
		 PAI_OK,
		 7,
		 {0, 1, 2, 4, 5, 7, 8}},
		{"5",
		 "Tile(a, b, c)",
		 "float[1,1] a = {1}, float[1] b = {2}, float[0] c = {}",
		 PAI_INVALID,
		 0,
		 {0}},
		{"13",
		 "Tile(a, b)",
		 "float[2,1,5] a = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10}, "
		 "int64[3] b = {0, 9223372036854775807, 1}",
		 PAI_LIMIT,
		 0,
		 {0}},
		{"21",
		 "QuantizeLinear<axis = 1, block_size = 9223372036854775807>(a, b)",
		 "float[1,2] a = {2, 4}, float[1,1] b = {2}",
		 PAI_OK,
		 2,
		 {1, 2}},
		{"13",
		 "Pad(a, b)",
		 "float[1] a = {1}, int64[2] b = {-9223372036854775807, 9223372036854775807}",
		 PAI_INVALID,
		 0,
		 {0}},
		{"13",
		 "SpaceToDepth<blocksize = 2147483647>(a)",
		 "float[1,1000,0,0] a = {}",
		 PAI_INVALID,
		 0,
		 {0}},
		{"22",
		 "ConvTranspose<strides = [2147483647]>(a, b)",
		 "float[0,1,1099511627776] a = {}, float[1,1,2] b = {1, 1}",
		 PAI_LIMIT,
		 0,
		 {0}},
		{"22",
		 "ConvTranspose<strides = [2147483647]>(a, b)",
		 "float[0,1,16777216] a = {}, float[1,1,2] b = {1, 1}",
		 PAI_LIMIT,
		 0,
		 {0}},
		{"17",
		 "LayerNormalization<axis = 1, epsilon = 0.0>(a, b)",
		 "float[1,4] a = {1, 1, 3, 3}, float[1] b = {2}",
		 PAI_OK,
		 4,
		 {-2, -2, 2, 2}},
		{"17",
		 "LpNormalization<axis = 1>(a)",
		 "float[2,2] a = {0, 0, 3, 4}",
		 PAI_OK,
		 4,
		 {0, 0, 0.6000000238418579, 0.800000011920929}},
		{"14",
		 "RNN<activations = [\"Relu\"], clip = 4.0, hidden_size = 1>(a, b, c)",
		 "float[1,1,1] a = {2}, float[1,1,1] b = {3}, float[1,1,1] c = {0}",
		 PAI_OK,
		 1,
		 {4}},
		{"14",
		 "RNN<hidden_size = 1>(a, b, c, d, e)",
		 "float[1,1,1] a = {2}, float[1,1,1] b = {3}, float[1,1,1] c = {0}, float[1,2] d = "
		 "{0, 0}, int32[1] e = {2}",
		 PAI_INVALID,
		 0,
		 {0}},
		{"14",
		 "GRU<activations = [\"Tanh\", \"Mystery\"], hidden_size = 1>(a, b, c)",
		 "float[1,1,1] a = {2}, float[1,3,1] b = {3, 3, 3}, float[1,3,1] c = {0, 0, 0}",
		 PAI_INVALID,
		 0,
		 {0}},
		{"14",
		 "LSTM<hidden_size = 1>(a, b, c)",
		 "float[1,1,1] a = {2}, float[1,3,1] b = {3, 3, 3}, float[1,4,1] c = {0, 0, 0, 0}",
		 PAI_INVALID,
		 0,
		 {0}},
		{"17",
		 "MatMulInteger(a, b, c, d)",
		 "uint8[1,2] a = {255, 0}, int8[2,1] b = {-128, 127}, uint8 c = {1}, int8 d = {1}",
		 PAI_OK,
		 1,
		 {-32892}},
		{"17, \"com.microsoft\" : 1",
		 "com.microsoft.QGemm<alpha = 0.5>(a, b, c, d, e, f, h)",
		 "uint8[1,2] a = {3, 5}, float b = {0.5}, uint8 c = {1}, int8[2,1] d = {2, -1}, "
		 "float e = {2}, int8 f = {0}, int32[1] h = {4}",
		 PAI_OK,
		 1,
		 {2}},
		{"17, \"com.microsoft\" : 1",
		 "com.microsoft.QLinearAveragePool<kernel_shape = [2, 2]>(a, b, c, d, e)",
		 "uint8[1,1,2,2] a = {1, 2, 3, 6}, float b = {1}, uint8 c = {0}, float d = {0.5}, "
		 "uint8 e = {1}",
		 PAI_OK,
		 1,
		 {7}},
		{"17, \"com.microsoft\" : 1",
		 "com.microsoft.QLinearAveragePool<kernel_shape = [2, 2]>(a, b, c, d)",
		 "uint8[1,1,2,2] a = {4, 4, 8, 8}, float b = {0.5}, uint8 c = {2}, float d = "
		 "{0.25}",
		 PAI_OK,
		 1,
		 {8}},
		{"17, \"com.microsoft\" : 1",
		 "com.microsoft.DynamicQuantizeLSTM<hidden_size = 1, activations = [\"Relu\", "
		 "\"Relu\", \"Relu\"]>(a, b, c, , , , , , d, e, d, e)",
		 "float[1,1,1] a = {255}, int8[1,1,4] b = {1, 1, 0, 1}, int8[1,1,4] c = {1, 1, 1, "
		 "1}, float[1] d = {0.00390625}, int8[1] e = {0}",
		 PAI_OK,
		 1,
		 {0.9883269667625427}},
		{"17",
		 "Einsum<equation = \"ii->\">(a)",
		 "float[2,2] a = {1, 2, 3, 4}",
		 PAI_OK,
		 1,
		 {5}},
		{"17",
		 "Einsum<equation = \"i,i->i\">(a, b)",
		 "int32[2] a = {65536, 3}, int32[1] b = {65536}",
		 PAI_OK,
		 2,
		 {0, 196608}},
		{"17",
		 "Einsum<equation = \"ij->ik\">(a)",
		 "float[2,2] a = {1, 2, 3, 4}",
		 PAI_INVALID,
		 0,
		 {0}},
		{"17",
		 "Einsum<equation = \"ij,jk\">(a)",
		 "float[2,2] a = {1, 2, 3, 4}",
		 PAI_INVALID,
		 0,
		 {0}},
		{"17",
		 "Einsum<equation = \"i->i\">(a, b)",
		 "float[2] a = {1, 2}, float b = {3}",
		 PAI_INVALID,
		 0,
		 {0}},
		{"17",
		 "Einsum<equation = \"i,->i\">(a, b)",
		 "float[2] a = {1, 2}, float b = {3}",
		 PAI_OK,
		 2,
		 {3, 6}},
		{"17",
		 "NonMaxSuppression(a, b, c, d)",
		 "float[1,2,4] a = {1, 1, 0, 0, 0, 0, 1, 1}, float[1,1,2] b = {0.5, 0.9}, int64[1] "
		 "c = {2}, float[1] d = {0.5}",
		 PAI_OK,
		 3,
		 {0, 0, 1}},
		{"17",
		 "NonMaxSuppression(a, b, c)",
		 "float[1,2,4] a = {1, 1, 0, 0, 0, 0, 1, 1}, float[1,1,3] b = {0.5, 0.9, 0}, "
		 "int64[1] c = {2}",
		 PAI_INVALID,
		 0,
		 {0}},
		{"20",
		 "GridSample(a, b)",
		 "float[1,1,1,1] a = {5}, float[1,1,2,2] b = {nan, 0, 0, 0}",
		 PAI_OK,
		 2,
		 {0, 5}},
		{"20",
		 "AffineGrid(a, b)",
		 "float[1,2,3] a = {1, 0, 0, 0, 1, 0}, int64[4] b = {1, 1, 2, -1}",
		 PAI_INVALID,
		 0,
		 {0}},
		{"17",
		 "RoiAlign(a, b, c)",
		 "float[1,1,1,1] a = {5}, float[1,4] b = {0, 0, 1, 1}, int64[1] c = {1}",
		 PAI_INVALID,
		 0,
		 {0}},
		{"17", "Det(a)", "float[2,2] a = {1, 2, 2, 4}", PAI_OK, 1, {0}},
		{"17",
		 "ReverseSequence(a, b)",
		 "float[2,1] a = {1, 2}, int64[1] b = {3}",
		 PAI_INVALID,
		 0,
		 {0}},
		{"17", "Unique(a)", "float[4] a = {3, 1, 3, 2}", PAI_OK, 3, {1, 2, 3}},
		{"17",
		 "Multinomial<sample_size = 3>(a)",
		 "float[1,3] a = {-1000, 0, -1000}",
		 PAI_OK,
		 3,
		 {1, 1, 1}},
		{"17, \"ai.onnx.ml\" : 1",
		 "ai.onnx.ml.Scaler<offset = [1.0], scale = [2.0, 4.0]>(a)",
		 "int64[1,2] a = {2, 3}",
		 PAI_OK,
		 2,
		 {2, 8}},
		{"17, \"ai.onnx.ml\" : 1",
		 "ai.onnx.ml.Normalizer<norm = \"L1\">(a)",
		 "float[2,2] a = {1, -3, 0, 0}",
		 PAI_OK,
		 4,
		 {0.25, -0.75, 0, 0}},
		{"17, \"ai.onnx.ml\" : 1",
		 "ai.onnx.ml.ArrayFeatureExtractor(a, b)",
		 "float[2,3] a = {1, 2, 3, 4, 5, 6}, int64[2] b = {2, 0}",
		 PAI_OK,
		 4,
		 {3, 1, 6, 4}},
		{"17, \"ai.onnx.ml\" : 1",
		 "ai.onnx.ml.ArrayFeatureExtractor(a, b)",
		 "float[2,3] a = {1, 2, 3, 4, 5, 6}, int64[1] b = {3}",
		 PAI_INVALID,
		 0,
		 {0}},
		{"17, \"ai.onnx.ml\" : 1",
		 "ai.onnx.ml.LinearClassifier<coefficients = [1.0, -1.0], classlabels_ints : ints "
		 "= []>(a)",
		 "float[2,1] a = {-1, 1}",
		 PAI_OK,
		 2,
		 {1, 0}},
		{"17, \"ai.onnx.ml\" : 1",
		 "ai.onnx.ml.SVMClassifier<classlabels_ints = [7, 9], coefficients = [1.0, -1.0], "
		 "rho = [0.0], support_vectors = [1.0, 3.0], vectors_per_class = [1, 1]>(a)",
		 "float[2,1] a = {-1, 1}",
		 PAI_OK,
		 2,
		 {7, 9}},
		{"17, \"ai.onnx.ml\" : 1",
		 "ai.onnx.ml.SVMClassifier<classlabels_ints = [7, 9], coefficients = [1.0], rho = "
		 "[0.0], support_vectors = [1.0, 3.0], vectors_per_class = [1, 1]>(a)",
		 "float[2,1] a = {-1, 1}",
		 PAI_INVALID,
		 0,
		 {0}},
		{"17", "Cast<to = 1>(a)", "string[1] a = {\"1\\x00\"}", PAI_INVALID, 0, {0}},
		{"17",
		 "SoftmaxCrossEntropyLoss(a, b)",
		 "float[1,2] a = {0, 0}, int64[1] b = {2}",
		 PAI_INVALID,
		 0,
		 {0}},
	};
	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		char text[1024];
		snprintf(text, sizeof text,
			 "<ir_version: 10, opset_import: [\"\" : %s]>\n"
			 "g () => (y) <%s> { y = %s }",
			 rows[i].opset, rows[i].init, rows[i].body);
		pai_model *m;
		need(pai_text_parse(ctx, "test", text, strlen(text), &m));
		const pai_node *n = m->graph->nodes.at[0];
		const pai_tensor *in[12];
		pai_tensor *out;
		assert_in_range(n->n_in, 0, 12);
		for (int k = 0; k < n->n_in; k++)
			in[k] = n->in[k] ? n->in[k]->init : NULL;
		pai_status st = pai_eval_node(ctx, m->arena, n, in, 0, &out);
		if (st != rows[i].status)
			print_error("%s: status %d\n", rows[i].body, (int)st);
		assert_int_equal(st, rows[i].status);
		if (st == PAI_OK)
			assert_int_equal(pai_tensor_nelem(out), rows[i].n);
		for (int k = 0; st == PAI_OK && k < rows[i].n; k++)
			if (pai_tensor_get(out, k) != rows[i].want[k])
				fail_msg("%s: element %d is %g, expected %g", rows[i].body, k,
					 pai_tensor_get(out, k), rows[i].want[k]);
		pai_diag_clear(ctx);
		pai_model_free(m);
	}
}

/* A call of a model-local function is run through its body; an output may be too large. */
/* What is no number has byte 0, and the range of an infinity has a zero point. */
static void bytes_of_no_number(void **state)
{
	const pai_byte_range plain = {1, 0}, wide = pai_byte_range_of(-INFINITY, 0);
	(void)state;
	assert_true(pai_byte_of(plain, NAN) == 0);
	assert_true(pai_byte_of(plain, -1) == 0 && pai_byte_of(plain, INFINITY) == 255);
	assert_true(wide.zero >= 0 && wide.zero <= 255);
	assert_true(pai_byte_of(wide, -INFINITY) == 0);
}

static void function_call(void **state)
{
	(void)state;
	pai_model *m = model_of("<ir_version: 8, opset_import: [\"\" : 17, \"f\" : 1]>\n"
				"g (float[2] x) => (float[2] y) { y = f.scaled<k = 3.0>(x) }\n"
				"<domain: \"f\", opset_import: [\"\" : 17]>\n"
				"scaled <k> (a) => (b) { c = Constant<value_float: float = @k>() "
				"b = Mul(a, c) }");
	pai_tensor *x = pai_tensor_new(m->arena, PAI_FLOAT, 1, (int64_t[]){2}), *y;
	const pai_tensor *in = x;
	for (int i = 0; i < 2; i++)
		pai_tensor_set(x, i, i + 1);
	need(pai_eval_node(ctx, m->arena, m->graph->nodes.at[0], &in, 0, &y));
	assert_true(pai_tensor_get(y, 0) == 3 && pai_tensor_get(y, 1) == 6);
	assert_int_equal(pai_eval_node(ctx, m->arena, m->graph->nodes.at[0], &in, 4, &y),
			 PAI_LIMIT);
	pai_diag_clear(ctx);
	pai_model_free(m);
}

/* Dropout keeps about 1 - ratio of the elements, scales them, and its mask and gradient agree. */
static void dropout(void **state)
{
	enum { N = 4000 };
	(void)state;
	pai_model *m = model_of("<ir_version: 8, opset_import: [\"\" : 17]>\n"
				"g (float[4000] x) => (float[4000] y, bool[4000] mask)\n"
				"<float r = {0.25}, bool t = {1}> { y, mask = Dropout(x, r, t) }");
	pai_value *x = m->graph->inputs.at[0], *y = m->graph->outputs.at[0], *dx;
	need(pai_autodiff(m, 1, &y, NULL, 1, &x, &dx));
	pai_tensor *in = pai_tensor_new(m->arena, PAI_FLOAT, 1, (int64_t[]){N});
	for (int i = 0; i < N; i++)
		((float *)in->data)[i] = (float)(i + 1);
	pai_plan *plan;
	const pai_tensor *given[] = {in}, *out[3];
	const pai_plan_options o = {.n_keep = 1, .keep = &dx};
	need(pai_plan_new(ctx, m->graph, 1, given, &o, &plan));
	int kept[2] = {0, 0}, changed = 0;
	bool last[N];
	for (int step = 0; step < 2; step++) {
		pai_plan_set_step(plan, (uint64_t)step);
		need(pai_plan_run(plan, given, out));
		for (int i = 0; i < N; i++) {
			bool keep = ((const bool *)out[1]->data)[i];
			kept[step] += keep;
			changed += step && keep != last[i];
			last[i] = keep;
			double want = keep ? (i + 1) / 0.75 : 0;
			assert_true(fabs((double)((const float *)out[0]->data)[i] - want) <=
				    1e-6 * want);
			assert_true(fabs((double)((const float *)out[2]->data)[i] -
					 (keep ? 1 / 0.75 : 0)) < 1e-6);
		}
		assert_true(kept[step] > N * 0.71 && kept[step] < N * 0.79);
	}
	assert_true(changed > N / 4);
	pai_plan_free(plan);
	pai_model_free(m);
}

/* Shapes of the inputs of a rule under test. */
typedef enum form {
	ONE,      /* x */
	PAIR,     /* x, y that broadcast to each other */
	THREE,    /* x, y, w that do */
	AXES,     /* x, and axes as an initialiser */
	CHOICE,   /* a condition as an initialiser, then a pair */
	CHANNELS, /* x of rank 2 to 4, then four vectors of its channels */
	LABELS    /* x of rank 2 to 4, and a class for each place as an initialiser */
} form;

typedef struct rule {
	form form;
	double low, high; /* of the inputs; kinks lie outside or are unlikely to be met */
	const char *opset, *body;
} rule;

static const rule rules[] = {
	{PAIR, -2, 2, "17", "Add(x, y)"},
	{PAIR, -2, 2, "17", "Sub(x, y)"},
	{PAIR, -2, 2, "17", "Mul(x, y)"},
	{PAIR, 0.5, 2, "17", "Div(x, y)"},
	{PAIR, 0.5, 2, "17", "Pow(x, y)"},
	{THREE, -2, 2, "17", "Max(x, y, w)"},
	{THREE, -2, 2, "17", "Min(x, y, w)"},
	{ONE, -2, 2, "17", "Max(x)"},
	{ONE, -2, 2, "17", "Neg(x)"},
	{ONE, -2, 2, "17", "Abs(x)"},
	{ONE, -2, 2, "17", "Exp(x)"},
	{ONE, 0.5, 2, "17", "Log(x)"},
	{ONE, 0.5, 2, "17", "Sqrt(x)"},
	{ONE, -2, 2, "17", "Erf(x)"},
	{ONE, -2, 2, "17", "Relu(x)"},
	{ONE, -2, 2, "17", "LeakyRelu<alpha = 0.3>(x)"},
	{ONE, -2, 2, "17", "Sigmoid(x)"},
	{ONE, -2, 2, "17", "Tanh(x)"},
	{ONE, -2, 2, "6", "Clip<min = -1.0, max = 0.7>(x)"},
	{ONE, -2, 2, "17", "Identity(x)"},
	{CHOICE, -2, 2, "17", "Where(c, x, y)"},
	{ONE, -2, 2, "17", "Softmax(x)"},
	{ONE, -2, 2, "17", "Softmax<axis = 0>(x)"},
	{ONE, -2, 2, "11", "Softmax(x)"},
	{ONE, -2, 2, "17", "LogSoftmax<axis = 0>(x)"},
	{ONE, -2, 2, "11", "LogSoftmax<axis = 0>(x)"},
	{AXES, -2, 2, "17", "ReduceSum<keepdims = 0>(x, axes)"},
	{AXES, -2, 2, "17", "ReduceSum(x, axes)"},
	{ONE, -2, 2, "17", "ReduceSum<keepdims = 0>(x)"},
	{AXES, -2, 2, "18", "ReduceMean<keepdims = 0>(x, axes)"},
	{ONE, -2, 2, "18", "ReduceMean(x)"},
	{AXES, -2, 2, "18", "ReduceMax<keepdims = 0>(x, axes)"},
	{AXES, -2, 2, "18", "ReduceMin(x, axes)"},
	{THREE, -2, 2, "17", "Sum(x, y, w)"},
	{THREE, -2, 2, "17", "Mean(x, y, w)"},
	{PAIR, 0.5, 2, "17", "Mod<fmod = 1>(x, y)"},
	{ONE, -0.9, 0.9, "17", "Acos(x)"},
	{ONE, 1.5, 2, "17", "Acosh(x)"},
	{ONE, -0.9, 0.9, "17", "Asin(x)"},
	{ONE, -2, 2, "17", "Asinh(x)"},
	{ONE, -2, 2, "17", "Atan(x)"},
	{ONE, -0.9, 0.9, "17", "Atanh(x)"},
	{ONE, -2, 2, "17", "Cos(x)"},
	{ONE, -2, 2, "17", "Cosh(x)"},
	{ONE, -2, 2, "17", "Elu<alpha = 1.5>(x)"},
	{ONE, -2, 2, "20", "Gelu(x)"},
	{ONE, -2, 2, "20", "Gelu<approximate = \"tanh\">(x)"},
	{ONE, -4, 4, "17", "HardSigmoid(x)"},
	{ONE, -4, 4, "17", "HardSwish(x)"},
	{ONE, -2, 2, "18", "Mish(x)"},
	{ONE, 0.5, 2, "17", "Reciprocal(x)"},
	{ONE, -2, 2, "17", "Selu(x)"},
	{ONE, -2, 2, "17", "Shrink<bias = 0.3, lambd = 0.7>(x)"},
	{ONE, -2, 2, "17", "Sin(x)"},
	{ONE, -2, 2, "17", "Sinh(x)"},
	{ONE, -2, 2, "17", "Softplus(x)"},
	{ONE, -2, 2, "17", "Softsign(x)"},
	{ONE, -2, 2, "24", "Swish<alpha = 1.7>(x)"},
	{ONE, -1, 1, "17", "Tan(x)"},
	{ONE, -2, 2, "17", "ThresholdedRelu<alpha = 0.4>(x)"},
	{AXES, -2, 2, "18", "ReduceL1<keepdims = 0>(x, axes)"},
	{AXES, 0.5, 2, "18", "ReduceL2(x, axes)"},
	{AXES, 0.5, 2, "18", "ReduceLogSum<keepdims = 0>(x, axes)"},
	{AXES, -2, 2, "18", "ReduceLogSumExp<keepdims = 0>(x, axes)"},
	{ONE, -2, 2, "18", "ReduceLogSumExp<keepdims = 0>(x)"},
	{AXES, -2, 2, "18", "ReduceProd<keepdims = 0>(x, axes)"},
	{AXES, -2, 2, "18", "ReduceSumSquare(x, axes)"},
	{LABELS, -2, 2, "17", "SoftmaxCrossEntropyLoss(x, t)"},
	{LABELS, -2, 2, "17", "SoftmaxCrossEntropyLoss<reduction = \"none\">(x, t)"},
	{LABELS, -2, 2, "17",
	 "SoftmaxCrossEntropyLoss<reduction = \"sum\", ignore_index = 0>(x, t)"},
	{LABELS, -2, 2, "17", "NegativeLogLikelihoodLoss<ignore_index = 0>(x, t)"},
	{CHANNELS, 0.5, 2, "17", "BatchNormalization<epsilon = 0.125>(x, s, b, m, v)"},
	{CHANNELS, 0.5, 2, "17",
	 "BatchNormalization<epsilon = 0.125, training_mode = 1>(x, s, b, m, v)"},
};

static uint64_t draws;
static double draw(double low, double high)
{
	const pai_random r = pai_random_new(11, 0, 0);
	return low + (high - low) * (double)pai_random_uniform(&r, draws++);
}

static int64_t draw_int(int64_t low, int64_t high)
{
	return low + (int64_t)(draw(0, 1) * (double)(high - low + 1));
}

static void print_shape(char *to, int rank, const int64_t *dims)
{
	to += sprintf(to, "%s", rank ? "[" : "");
	for (int d = 0; d < rank; d++)
		to += sprintf(to, "%s%lld", d ? "," : "", (long long)dims[d]);
	sprintf(to, "%s", rank ? "]" : "");
}

/* A shape that broadcasts into dims: some sizes 1, some leading dimensions left out. */
static void print_part(char *to, int rank, const int64_t *dims)
{
	int64_t part[4];
	int skip = (int)draw_int(0, rank);
	for (int d = skip; d < rank; d++)
		part[d] = draw(0, 1) < 0.3 ? 1 : dims[d];
	print_shape(to, rank - skip, part + skip);
}

static void print_labels(char *to, int rank, const int64_t *dims)
{
	int64_t places[4] = {0}, n = 1;
	char shape[64];
	for (int d = 0; d < rank; d++)
		if (d != 1)
			n *= places[d > 1 ? d - 1 : d] = dims[d];
	print_shape(shape, rank - 1, places);
	to += sprintf(to, "<int64%s t = {", shape);
	for (int64_t i = 0; i < n; i++) /* at least one that ignore_index = 0 does not meet */
		to += sprintf(to, "%s%d", i ? "," : "",
			      (int)(i ? draw_int(0, dims[1] - 1) : dims[1] - 1));
	sprintf(to, "}>");
}

static void write_model(const rule *r, char *to, size_t size)
{
	int rank = (int)draw_int(r->form == ONE ? 1 : 2, 4);
	int64_t dims[4];
	char shape[4][64], init[512] = "", *at = init;
	const char *inputs = "double%s x";
	for (int d = 0; d < rank; d++)
		dims[d] = draw_int(r->form == LABELS && d == 1 ? 2 : 1, 4);
	print_shape(shape[0], rank, dims);
	for (int k = 1; k < 4; k++)
		print_part(shape[k], rank, dims);
	if (r->form == PAIR || r->form == CHOICE)
		inputs = "double%s x, double%s y";
	else if (r->form == THREE)
		inputs = "double%s x, double%s y, double%s w";
	else if (r->form == CHANNELS) {
		inputs = "double%s x, double%s s, double%s b, double[%s] m, double[%s] v";
		for (int k = 1; k < 4; k++)
			print_shape(shape[k], 1, &dims[1]);
	}
	if (r->form == AXES)
		sprintf(init, "<int64[1] axes = {%d}>", (int)draw_int(-rank, rank - 1));
	if (r->form == CHOICE) {
		int64_t n = dims[rank - 1];
		at += sprintf(at, "<bool[%lld] c = {", (long long)n);
		for (int64_t i = 0; i < n; i++)
			at += sprintf(at, "%s%d", i ? "," : "", draw(0, 1) < 0.5);
		sprintf(at, "}>");
	}
	if (r->form == LABELS)
		print_labels(init, rank, dims);
	char list[512], channels[32];
	snprintf(channels, sizeof channels, "%lld", (long long)dims[rank > 1]);
	snprintf(list, sizeof list, inputs, shape[0], shape[1], shape[2], channels, channels);
	snprintf(to, size,
		 "<ir_version: 8, opset_import: [\"\" : %s]>\ng (%s) => (double%s z) %s { z = %s }",
		 r->opset, list, "", init, r->body);
	/* The type of z is inferred. */
	char *z = strstr(to, "(double z)");
	memcpy(z, "(       z)", 10);
}

typedef struct problem {
	pai_model *m, *plain; /* with gradients, and without */
	pai_plan *forward;
	int n_in;
	const pai_tensor *in[8]; /* the last is the upstream gradient of the model with gradients */
	pai_tensor *out_like;
} problem;

/* sum(upstream * z) */
static double loss(problem *p)
{
	const pai_tensor *z;
	double sum = 0;
	need(pai_plan_run(p->forward, p->in, &z));
	for (int64_t i = 0; i < pai_tensor_nelem(z); i++)
		sum += pai_tensor_get(z, i) * pai_tensor_get(p->in[p->n_in], i);
	return sum;
}

static pai_tensor *random_tensor(pai_arena *a, int rank, const int64_t *dims, double low,
				 double high)
{
	pai_tensor *t = pai_tensor_new(a, PAI_DOUBLE, rank, dims);
	for (int64_t i = 0; i < pai_tensor_nelem(t); i++)
		pai_tensor_set(t, i, draw(low, high));
	return t;
}

static void compare_gradients(problem *p, const char *text, pai_value *const *grad)
{
	enum { MOST = 8 };
	const double h = 1e-5, tolerance = 1e-6;
	pai_plan *plan;
	const pai_tensor *results[MOST + 1];
	pai_value *keep[MOST];
	pai_plan_options o = {.keep = keep, .backend = PAI_REFERENCE};
	for (int i = 0; i < p->n_in; i++)
		if (grad[i])
			keep[o.n_keep++] = grad[i];
	need(pai_plan_new(ctx, p->m->graph, p->n_in + 1, p->in, &o, &plan));
	need(pai_plan_run(plan, p->in, results));
	for (int i = 0, k = 1; i < p->n_in; i++) {
		const pai_tensor *got = grad[i] ? results[k++] : NULL;
		double *x = p->in[i]->data;
		for (int64_t e = 0; e < pai_tensor_nelem(p->in[i]); e++) {
			double at = x[e];
			x[e] = at + h;
			double up = loss(p);
			x[e] = at - h;
			double want = (up - loss(p)) / (2 * h),
			       is = got ? pai_tensor_get(got, e) : 0;
			x[e] = at;
			if (!(fabs(is - want) <= tolerance * (1 + fabs(want))))
				fail_msg("%s: input %d, element %lld: %.9g, by differences %.9g",
					 text, i, (long long)e, is, want);
		}
	}
	pai_plan_free(plan);
}

static void check_rule(const rule *r)
{
	char text[2048];
	problem p = {0};
	write_model(r, text, sizeof text);
	p.m = model_of(text);
	p.plain = model_of(text);
	pai_graph *g = p.m->graph;
	pai_value *wrt[8], *grad[8], *z = g->outputs.at[0];
	p.n_in = g->inputs.n;
	for (int i = 0; i < p.n_in; i++) {
		wrt[i] = g->inputs.at[i];
		p.in[i] = random_tensor(p.m->arena, wrt[i]->type.rank, wrt[i]->type.dims, r->low,
					r->high);
	}
	p.in[p.n_in] = random_tensor(p.m->arena, z->type.rank, z->type.dims, -1, 1);
	pai_value *up = pai_graph_add_value(g, "up");
	up->type = z->type;
	up->is_input = true;
	PAI_PUSH(p.m->arena, g->inputs, up);
	need(pai_autodiff(p.m, 1, &z, &up, p.n_in, wrt, grad));
	const pai_plan_options o = {.backend = PAI_REFERENCE};
	need(pai_plan_new(ctx, p.plain->graph, p.n_in, p.in, &o, &p.forward));
	compare_gradients(&p, text, grad);
	pai_plan_free(p.forward);
	pai_model_free(p.m);
	pai_model_free(p.plain);
}

static void gradients(void **state)
{
	enum { SHAPES = 6 };
	(void)state;
	for (size_t i = 0; i < sizeof rules / sizeof *rules; i++)
		for (int k = 0; k < SHAPES; k++)
			check_rule(&rules[i]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(philox_vectors), cmocka_unit_test(random_streams),
		cmocka_unit_test(corners),        cmocka_unit_test(bytes_of_no_number),
		cmocka_unit_test(function_call),  cmocka_unit_test(dropout),
		cmocka_unit_test(gradients),
	};
	return cmocka_run_group_tests(tests, make_context, free_context);
}
