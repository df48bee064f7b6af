/* compiler.h -- what a model is: bytes <-> graph, text <-> graph, shapes, verification,
 * diagnostics.
 *
 * A model is a tree of graphs. A graph holds values (tensors by name, in SSA form) and nodes in
 * topological order. Everything a graph is made of lives in the model's arena and is freed with it;
 * tensor contents point into the mapped file, into an external data file, or into the arena.
 * A graph is never edited in place by its users: they propose a patch (patch.c), of which each
 * rewrite is checked and applied whole or not at all; graph->epoch counts what was applied.
 * What the model does not need to understand (doc strings, unknown fields, ...) is kept with the
 * object it came with (its `origin`) and written back with it.
 *
 * Conventions: a function that can fail returns pai_status and has reported why through ctx;
 * `out` parameters are set on success only; `const T *` results are borrowed.
 */
#ifndef PAI_COMPILER_H
#define PAI_COMPILER_H

#include "schemas/schemas.h"
#include <stdarg.h>
#include <stdio.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Outcomes, which are also the program's exit codes. */
typedef enum pai_status {
	PAI_OK = 0,
	PAI_CHECK = 1,    /* a check or quality gate failed */
	PAI_USAGE = 2,    /* a bad option or call */
	PAI_INVALID = 3,  /* malformed or unsupported input */
	PAI_LIMIT = 4,    /* a limit was reached, or a target refuses */
	PAI_IO = 5,       /* input or output failed */
	PAI_NOMEM = 6,    /* out of memory */
	PAI_NUMERIC = 7,  /* NaN, divergence */
	PAI_INTERNAL = 8, /* our own bug */
} pai_status;

#define PAI_MUST_USE __attribute__((warn_unused_result))
#define PAI_PRINTF(f, a) __attribute__((format(printf, f, a)))
/* Returns from the calling function unless the expression is PAI_OK. */
#define PAI_TRY(expr)                         \
	do {                                  \
		pai_status pai_try_ = (expr); \
		if (pai_try_ != PAI_OK)       \
			return pai_try_;      \
	} while (0)

typedef struct pai_ctx pai_ctx;
typedef struct pai_arena pai_arena;
typedef struct pai_model pai_model;
typedef struct pai_graph pai_graph;
typedef struct pai_node pai_node;
typedef struct pai_value pai_value;
typedef struct pai_attr pai_attr;
typedef struct pai_patch pai_patch;

/* ---- arena.c: memory ---- */

/* Where all our memory comes from; a test makes the n-th call fail. alloc may return NULL. */
typedef struct pai_allocator {
	void *(*alloc)(void *payload, size_t nbytes);
	void (*free)(void *payload, void *p);
	void *payload;
} pai_allocator;

/* An arena hands out zeroed, 16-byte aligned memory that lives until the arena is freed. Small
 * objects cannot fail: exhaustion calls ctx->on_oom, which does not return. */
PAI_API pai_arena *pai_arena_new(pai_ctx *ctx);
PAI_API void pai_arena_free(pai_arena *a); /* NULL is fine */
PAI_API void *pai_arena_alloc(pai_arena *a, size_t nbytes);
/* For tensor contents: 64-byte aligned, not zeroed; NULL when there is no memory, so callers
 * report PAI_NOMEM. Lives as long as the arena. */
PAI_API void *pai_arena_bulk(pai_arena *a, size_t nbytes);
PAI_API char *pai_arena_strdup(pai_arena *a, const char *s);            /* NULL gives NULL */
PAI_API char *pai_arena_strndup(pai_arena *a, const char *s, size_t n); /* stops at n */
PAI_API char *pai_arena_printf(pai_arena *a, const char *fmt, ...) PAI_PRINTF(2, 3);
PAI_API void *pai_arena_dup(pai_arena *a, const void *p, size_t nbytes);
/* Calls release(p) when the arena is freed, last registered first: mappings, handles. */
PAI_API void pai_arena_defer(pai_arena *a, void (*release)(void *p), void *p);
#define PAI_NEW(arena, type) ((type *)pai_arena_alloc((arena), sizeof(type)))
#define PAI_NEWS(arena, type, n) ((type *)pai_arena_alloc((arena), sizeof(type) * (size_t)(n)))

/* Growable array in an arena. struct { T *at; int n, cap; }; PAI_PUSH(arena, vec, item) */
#define PAI_PUSH(arena, vec, item)                                                             \
	do {                                                                                   \
		if ((vec).n == (vec).cap) {                                                    \
			int pai_cap_ = (vec).cap ? 2 * (vec).cap : 8;                          \
			void *pai_new_ =                                                       \
				pai_arena_alloc((arena), sizeof *(vec).at * (size_t)pai_cap_); \
			pai_copy(pai_new_, (vec).at, sizeof *(vec).at *(size_t)(vec).n);       \
			(vec).at = pai_new_;                                                   \
			(vec).cap = pai_cap_;                                                  \
		}                                                                              \
		(vec).at[(vec).n++] = (item);                                                  \
	} while (0)
PAI_API void pai_copy(void *to, const void *from, size_t nbytes); /* memcpy that allows 0 bytes */

/* Checked size arithmetic for anything that comes from a file; false on overflow. */
PAI_API bool pai_size_mul(size_t a, size_t b, size_t *out);
PAI_API bool pai_size_add(size_t a, size_t b, size_t *out);

/* FNV-1a over bytes, from PAI_HASH or the hash of what came before. */
#define PAI_HASH 0xcbf29ce484222325u
PAI_API uint64_t pai_hash(uint64_t h, const void *bytes, size_t n);

/* String -> pointer table in an arena; keys are not copied. Order of insertion is kept by callers.
 */
typedef struct pai_map pai_map;
PAI_API pai_map *pai_map_new(pai_arena *a);
PAI_API void *pai_map_get(const pai_map *m, const char *key);       /* NULL when absent */
PAI_API void pai_map_put(pai_map *m, const char *key, void *value); /* replaces */

/* ---- diag.c: what went wrong, and where ---- */

typedef enum pai_severity { PAI_ERROR, PAI_WARNING, PAI_NOTE } pai_severity;

/* Stable error codes: errors.def, one row each: ERROR(number, name, status, hint). */
typedef enum pai_code {
#define ERROR(number, name, status, hint) PAI_E_##name = number,
#include "compiler/errors.def"
#undef ERROR
} pai_code;

/* What a message is about. Made by the pai_at_* functions; every part may be absent. */
typedef struct pai_where {
	const char *file; /* NULL: the model's own path when a node or value is given */
	const char *path; /* field path on the wire, such as graph.node[12].attribute[3].ints */
	const pai_node *node;
	const pai_value *value;
	const char *attr;
	int input, output; /* slot, -1: none */
	int64_t byte;      /* offset in the file, -1: none */
} pai_where;

PAI_API pai_where pai_at_nothing(void);
PAI_API pai_where pai_at_file(const char *file);
PAI_API pai_where pai_at_byte(const char *file, const char *path, int64_t byte);
PAI_API pai_where pai_at_node(const pai_node *node);
PAI_API pai_where pai_at_input(const pai_node *node, int slot);
PAI_API pai_where pai_at_output(const pai_node *node, int slot);
PAI_API pai_where pai_at_attr(const pai_node *node, const char *attr);
PAI_API pai_where pai_at_value(const pai_value *value);

typedef struct pai_diag {
	pai_severity severity;
	pai_code code;
	pai_status status;
	const char *where; /* "model.onnx: graph.node[12] "conv1" (Conv): attribute "pads"" or "" */
	const char *text;  /* the fact, control bytes escaped */
	const char *hint;  /* what to do next, or NULL */
	const char *file;  /* parts of where, for JSON; NULL when absent */
	const char *node, *op, *tensor, *attr, *path;
	int input, output; /* -1: none */
	int64_t byte;      /* -1: none */
} pai_diag;

/* Reports an error and returns the status of its code's row:
 *     return pai_fail(ctx, PAI_E_conv_channels, pai_at_input(node, 1), "has %d, expected %d", a,
 * b); The first error of a call chain is the one reported last to the user: callers pass it on. */
PAI_API pai_status pai_fail(pai_ctx *ctx, pai_code code, pai_where where, const char *fmt, ...)
	PAI_PRINTF(4, 5);
PAI_API void pai_warn(pai_ctx *ctx, pai_code code, pai_where where, const char *fmt, ...)
	PAI_PRINTF(4, 5);
/* Adds provenance to the error before it: "after pass add-dendrites, patch 31". */
PAI_API void pai_note(pai_ctx *ctx, pai_where where, const char *fmt, ...) PAI_PRINTF(3, 4);
/* "; did you mean NAME?" for the end of a message; "" for NULL. */
PAI_API const char *pai_did_you_mean(pai_ctx *ctx, const char *name);
PAI_API int pai_diag_count(const pai_ctx *ctx);
PAI_API const pai_diag *pai_diag_get(const pai_ctx *ctx, int i);
PAI_API void pai_diag_clear(pai_ctx *ctx);
/* "pai-opt: error E0312: model.onnx: ...: text" and a hint line; json: one object a line. */
PAI_API void pai_diag_print(const pai_diag *d, FILE *to, bool json);
/* A string from a file for a message: at most 120 bytes, and what would steer a terminal, a CI log
 * or the direction of reading, or is no UTF-8, as \xNN. */
PAI_API const char *pai_escape(pai_arena *a, const char *s);
/* The same for whole lines, of any length; and for JSON text, where it becomes \uNNNN. */
PAI_API const char *pai_printable(pai_arena *a, const char *s);
PAI_API const char *pai_printable_json(pai_arena *a, const char *s);

/* ---- ctx.c: everything a call depends on that is not an argument ---- */

typedef struct pai_limits { /* limits.def, in its order; each has a flag of the same name */
#define LIMIT(name, value, meaning) uint64_t name;
#include "compiler/limits.def"
#undef LIMIT
} pai_limits;

typedef struct pai_io pai_io;

struct pai_ctx {
	const pai_allocator *allocator;
	const pai_io *io;
	pai_limits limits;
	uint64_t seed;
	int threads;      /* at most this many in the runtime; >= 1 */
	int threads_made; /* so many were there at one time (runtime/library.c) */
	/* Outputs are on disk when a write returns. Off: they appear whole or not at all as well,
	 * but a power failure soon after may lose them; saves some 10 ms a file. */
	bool durable;
	const char *model_path; /* for messages; NULL: unknown */
	/* Called when a small allocation fails; must not return. Default: one line, _exit(6). */
	void (*on_oom)(pai_ctx *ctx, size_t nbytes);
	/* Called before a shared library is opened while the program runs; NULL: not. */
	void (*on_library)(pai_ctx *ctx, const char *name);
	/* Each diagnostic as it comes; NULL: only kept. */
	void (*on_diag)(void *payload, const pai_diag *d);
	void *payload;
	uint64_t bytes_read;    /* of all files so far: what runs may take grows with it */
	struct pai_spent {      /* by runs; see runtime/budget.c */
		uint64_t bytes; /* held now */
		uint64_t work;  /* in this scope */
		int scopes;     /* that are open */
	} run;
	struct pai_ctx_private *own; /* arena of the diagnostics and the symbolic dims */
};

/* Defaults: malloc, POSIX io, limits.def, seed 0, all CPUs. Free after every model made with it. */
PAI_API pai_ctx *pai_ctx_new(const pai_allocator *allocator); /* NULL: malloc; NULL on no memory */
PAI_API void pai_ctx_free(pai_ctx *ctx);

/* Seconds of a monotonic clock. */
PAI_API double pai_now(void);

/* ---- io.c: files ---- */

typedef struct pai_file { /* a file mapped read-only, or read where it cannot be mapped */
	const char *path;
	const uint8_t *data;
	size_t size;
	int fd; /* -1: none */
} pai_file;

/* The operating system, so that tests can make the k-th call fail. Results as in POSIX. */
struct pai_io {
	int (*open)(void *payload, int dirfd, const char *path, int flags, unsigned mode);
	int64_t (*read)(void *payload, int fd, void *to, size_t n);
	int64_t (*write)(void *payload, int fd, const void *from, size_t n);
	int (*fsync)(void *payload, int fd);
	int (*close)(void *payload, int fd);
	int (*rename)(void *payload, const char *from, const char *to);
	int (*unlink)(void *payload, const char *path);
	void *(*map)(void *payload, int fd, size_t size); /* NULL on failure */
	int (*unmap)(void *payload, void *at, size_t size);
	/* Opens below dirfd only, whatever links the path has (errno EXDEV: it leads out). */
	int (*open_beneath)(void *payload, int dirfd, const char *path, int flags);
	/* Copies up to n bytes between files in the kernel; -1 where it cannot. */
	int64_t (*copy)(void *payload, int from, int64_t offset, int to, size_t n);
	void *payload;
};

/* Maps a regular file; "-" reads standard input. The file is released with the arena. */
PAI_API PAI_MUST_USE pai_status pai_file_open(pai_ctx *ctx, pai_arena *a, const char *path,
					      pai_file *out);
/* Opens `location` below the folder of the model file, never outside it (reliability T1, T2). */
PAI_API PAI_MUST_USE pai_status pai_file_open_beside(pai_ctx *ctx, pai_arena *a,
						     const char *model_path, const char *location,
						     pai_file *out);
/* Gives back the pages of these bytes where they are of a mapped file; they are read anew on the
 * next touch. Keeps memory small while walking over something large. */
PAI_API void pai_file_drop(pai_ctx *ctx, const void *bytes, size_t n);

/* ---- writer.c ---- */

/* Writes a file so that the old one or the whole new one is seen, never a part: temporary file in
 * the same folder, fsync, rename. "-" writes standard output. */
typedef struct pai_writer pai_writer;
PAI_API PAI_MUST_USE pai_status pai_writer_open(pai_ctx *ctx, const char *path, pai_writer **out);
/* Errors are kept and reported by commit. Bytes inside a file mapped by pai_file_open are copied
 * by the kernel and do not stay resident. */
PAI_API void pai_writer_put(pai_writer *w, const void *bytes, size_t n);
PAI_API void pai_writer_printf(pai_writer *w, const char *fmt, ...) PAI_PRINTF(2, 3);
PAI_API uint64_t pai_writer_tell(const pai_writer *w);
PAI_API PAI_MUST_USE pai_status pai_writer_commit(pai_writer *w); /* frees w in every case */
PAI_API void pai_writer_discard(pai_writer *w); /* removes the temporary file; NULL is fine */

/* ---- tensor.c ---- */

#define PAI_MAX_RANK 64

typedef struct pai_str { /* an element of a string tensor */
	const char *at;
	size_t n;
} pai_str;

/* Contents and shape; used for initialisers, attributes and the runtime's arrays alike.
 * data: little-endian, C order, 2- and 4-bit types packed low bits first; pai_str[] for STRING.
 * data is NULL where only type and shape are known, or where nelem is 0. */
typedef struct pai_tensor {
	const char *name; /* may be NULL */
	pai_dtype dtype;
	int rank;
	int64_t *dims;
	void *data; /* at any address: what was read from a file may not be aligned */
	size_t nbytes;
	const void *origin; /* the message it was read from, for writing back; NULL: made by us */
	const struct pai_props *external; /* its external_data entries (location, offset, length,
					   * ...) when stored outside the model file; or NULL */
} pai_tensor;

PAI_API int64_t pai_tensor_nelem(const pai_tensor *t);
/* Product of dims and size of the element, rounded up to bytes; false beyond 2^47 elements or for a
 * negative dim. An empty tensor is held to the same for its other dims, so that the product of any
 * of them is in range. */
PAI_API bool pai_tensor_nbytes(pai_dtype dtype, int rank, const int64_t *dims, size_t *out);
/* A tensor with room for its contents (not zeroed). NULL when there is no memory. */
PAI_API pai_tensor *pai_tensor_new(pai_arena *a, pai_dtype dtype, int rank, const int64_t *dims);
PAI_API pai_tensor *pai_tensor_from_ints(pai_arena *a, int64_t n, const int64_t *v); /* int64 [n] */
PAI_API pai_tensor *pai_tensor_from_float(pai_arena *a, float v);                    /* scalar */
/* "float[2,3]", of a single number "float" */
PAI_API const char *pai_tensor_text(pai_arena *a, const pai_tensor *t);
PAI_API bool pai_same_shape(const pai_tensor *a, const pai_tensor *b);   /* rank and sizes */
PAI_API bool pai_tensor_equal(const pai_tensor *a, const pai_tensor *b); /* type, shape, bits */
/* Element i of contents with 2 or 4 bits to an element, low bits first. */
static inline unsigned pai_packed_get(const void *from, int bits, int64_t i)
{
	const int64_t per = 8 / bits;
	return ((const uint8_t *)from)[i / per] >> (int)(i % per) * bits & ((1u << bits) - 1);
}
static inline void pai_packed_set(void *to, int bits, int64_t i, unsigned v)
{
	const int64_t per = 8 / bits;
	const int low = (int)(i % per) * bits;
	const unsigned mask = ((1u << bits) - 1) << low;
	uint8_t *at = (uint8_t *)to + i / per;
	*at = (uint8_t)((*at & ~mask) | (v << low & mask));
}
/* Element i as double / int64 for any numeric type (unpacks, converts); the type must not be
 * string or complex. */
PAI_API double pai_tensor_get(const pai_tensor *t, int64_t i);
PAI_API int64_t pai_tensor_get_int(const pai_tensor *t, int64_t i);
/* Rounds to the element type, ties to even; integers and small floats saturate. */
PAI_API void pai_tensor_set(pai_tensor *t, int64_t i, double v);
PAI_API float pai_half_to_float(uint16_t h);
PAI_API uint16_t pai_float_to_half(float f);
PAI_API float pai_bfloat_to_float(uint16_t h);
PAI_API uint16_t pai_float_to_bfloat(float f);
/* The 8- and 4-bit float types. dtype is one of FLOAT8* or FLOAT4E2M1; saturate as in Cast. */
PAI_API float pai_small_to_float(pai_dtype dtype, uint8_t bits);
PAI_API uint8_t pai_float_to_small(pai_dtype dtype, float f, bool saturate);

/* ---- dim.c: symbolic sizes ---- */

/* A size: >= 0 known; < 0 a handle of a symbolic expression of the context, so that equal handles
 * mean equal sizes. Expressions are polynomials in symbols, kept in one canonical form; what has no
 * such form (floor((N+1)/2)) becomes a symbol of its own text. */
typedef int64_t pai_dim;
#define PAI_DIM_UNKNOWN INT64_MIN /* equal to nothing, not even itself */

PAI_API pai_dim pai_dim_symbol(pai_ctx *ctx, const char *name);
/* Any integer: contents such as the -1 of a Reshape are kept as sizes too, behind a handle. */
PAI_API pai_dim pai_dim_int(pai_ctx *ctx, int64_t v);
PAI_API bool pai_dim_const(const pai_ctx *ctx, pai_dim d, int64_t *out); /* false: not constant */
/* Certainly >= bound, where symbols count as >= 1 and floor divisions as >= 0. */
PAI_API bool pai_dim_at_least(const pai_ctx *ctx, pai_dim d, int64_t bound);
PAI_API pai_dim pai_dim_add(pai_ctx *ctx, pai_dim a, pai_dim b);
PAI_API pai_dim pai_dim_sub(pai_ctx *ctx, pai_dim a, pai_dim b);
PAI_API pai_dim pai_dim_mul(pai_ctx *ctx, pai_dim a, pai_dim b);
PAI_API pai_dim pai_dim_div(pai_ctx *ctx, pai_dim a, int64_t b);     /* floor; b > 0 */
PAI_API pai_dim pai_dim_div_dim(pai_ctx *ctx, pai_dim a, pai_dim b); /* exact, else UNKNOWN */
PAI_API const char *pai_dim_text(pai_ctx *ctx, pai_dim d);           /* "3", "N", "2*N+1", "?" */
PAI_API bool pai_dim_equal(pai_dim a, pai_dim b);                    /* known to be equal */

/* ---- graph.c: the model in memory ---- */

typedef enum pai_type_kind {
	PAI_TYPE_UNKNOWN,
	PAI_TYPE_TENSOR,
	PAI_TYPE_SPARSE_TENSOR,
	PAI_TYPE_SEQUENCE, /* of elem */
	PAI_TYPE_OPTIONAL, /* of elem */
	PAI_TYPE_MAP,      /* from key to elem */
} pai_type_kind;

typedef struct pai_type {
	pai_type_kind kind;
	pai_dtype dtype; /* of a tensor; of the key of a map; PAI_UNDEFINED: unknown */
	int rank;        /* -1: unknown */
	pai_dim *dims;   /* [rank] */
	const struct pai_type *elem;
} pai_type;

typedef struct pai_use { /* one place that reads a value */
	pai_node *node;
	int slot; /* -1: the node's subgraph hands the value out as its output */
} pai_use;

struct pai_value {
	const char *name;   /* never NULL; "" only for values a patch has not named yet */
	pai_graph *graph;   /* the graph it belongs to */
	int id;             /* index in graph->values */
	pai_type type;      /* what is known of it */
	pai_node *producer; /* NULL: input, initialiser */
	int slot;           /* output of the producer */
	pai_tensor *init;   /* initialiser, or NULL */
	bool is_input, is_output, dead;
	bool inferred;             /* type is a result of pai_infer, */
	const pai_type *stated;    /* ... and this is what was there before; NULL: nothing */
	const pai_tensor *known;   /* small integer contents found by shape inference, or NULL */
	const pai_dim *known_dims; /* ... as sizes, some of which may be symbolic or unknown:
				    * [nelem of a rank 0 or 1 value] or NULL */
	int n_known;
	const void *origin; /* its ValueInfoProto; NULL: none in the file */
};

struct pai_attr {
	const char *name;
	pai_attr_type type;
	const char *ref; /* name of the function's attribute it stands for; NULL: none */
	union {
		float f;
		int64_t i;
		pai_str s;
		pai_tensor *t;
		pai_graph *g;
		pai_type *type_value;
		struct {
			int64_t n;
			union {
				const float *f;
				const int64_t *i;
				const pai_str *s;
				pai_tensor *const *t;
				pai_graph *const *g;
			};
		} list;
	};
	const void *origin;
};

typedef struct pai_prop { /* an entry of metadata_props */
	const char *key, *value;
} pai_prop;

typedef struct pai_props {
	pai_prop *at;
	int n, cap;
} pai_props;

struct pai_node {
	pai_graph *graph;
	int id;           /* unique in the model, stable while it lives */
	const pai_op *op; /* NULL: unknown operator or model-local function */
	const char *op_type, *domain /* "" is ai.onnx */, *overload, *name; /* never NULL */
	pai_value **in;  /* [n_in]; NULL: omitted */
	pai_value **out; /* [n_out]; NULL: omitted */
	int n_in, n_out;
	pai_attr *attrs;
	int n_attrs;
	pai_props props;    /* metadata_props */
	bool changed;       /* differs from its origin */
	bool dead;          /* erased by a patch; no longer in graph->nodes */
	const void *origin; /* its NodeProto; NULL: made by us */
};

typedef struct pai_opset {
	const char *domain; /* "" is ai.onnx */
	int64_t version;
} pai_opset;

typedef struct pai_function { /* a model-local function; its graph has no types */
	const char *domain, *name, *overload;
	const char **attr_names; /* attributes without a default */
	int n_attr_names;
	pai_attr *attrs; /* attributes with a default */
	int n_attrs;
	pai_opset *opsets;
	int n_opsets;
	pai_graph *graph; /* inputs and outputs are the function's */
	pai_props props;
	const void *origin;
} pai_function;

#define PAI_VEC(T)          \
	struct {            \
		T *at;      \
		int n, cap; \
	}

struct pai_graph {
	pai_model *model;
	pai_graph *outer;       /* of a subgraph: the graph of the node that holds it */
	pai_node *owner;        /* that node, or NULL */
	pai_function *function; /* whose body this is, or NULL */
	const char *name;
	PAI_VEC(pai_node *) nodes;    /* topological order */
	PAI_VEC(pai_value *) values;  /* all that belong to it, by id; some may be dead */
	PAI_VEC(pai_value *) inputs;  /* initialisers that are inputs too are in both lists */
	PAI_VEC(pai_value *) outputs; /* may be values of an outer graph */
	PAI_VEC(pai_value *) inits;   /* in file order */
	pai_map *names;               /* value by name, this graph only */
	pai_props props;
	const void *origin;
};

struct pai_model {
	pai_ctx *ctx;
	pai_arena *arena;
	const char *path; /* as given; NULL: made in memory */
	int64_t ir_version;
	pai_opset *opsets;
	int n_opsets;
	pai_graph *graph;
	PAI_VEC(pai_function *) functions;
	pai_props props;
	const char *producer_name, *producer_version, *domain, *doc; /* "" when absent */
	int64_t model_version;
	uint64_t epoch; /* 0: as read; counts what patches changed */
	int next_node_id;
	pai_map *taken;  /* names in use in any graph of the model */
	pai_map *hints;  /* int64_t by hint: number of the last name made from it; NULL: none yet */
	pai_map *called; /* functions by name */
	pai_file source; /* the mapped file; data NULL: none */
	bool text;       /* was read from the text form */
	const void *origin;
};

/* An empty model: IR 8, the given opset of ai.onnx, a graph of that name. */
PAI_API pai_model *pai_model_new(pai_ctx *ctx, const char *graph_name, int64_t opset);
PAI_API void pai_model_free(pai_model *m); /* NULL is fine */
/* Version of the domain that applies in this graph (a function has its own); 0: not imported. */
PAI_API int64_t pai_graph_opset(const pai_graph *g, const char *domain);
/* Adds or raises an import of the model. */
PAI_API void pai_model_import(pai_model *m, const char *domain, int64_t version);
/* The list of functions is changed by these alone, so that a look-up needs to change nothing. */
PAI_API void pai_model_add_function(pai_model *m, pai_function *f);
PAI_API void pai_model_keep_functions(pai_model *m, int n, pai_function *const *kept);
PAI_API pai_function *pai_model_function(const pai_model *m, const char *domain, const char *name,
					 const char *overload); /* NULL: none */

/* Looked up by name in this graph, then outwards; NULL: none. */
PAI_API pai_value *pai_graph_value(const pai_graph *g, const char *name);
PAI_API const pai_attr *pai_node_attr(const pai_node *n, const char *name); /* NULL: not given */
/* Value given, or the default of the operator's row, or `otherwise` where there is none. */
PAI_API int64_t pai_node_int(const pai_node *n, const char *name, int64_t otherwise);
PAI_API float pai_node_float(const pai_node *n, const char *name, float otherwise);
PAI_API const char *pai_node_string(const pai_node *n, const char *name, const char *otherwise);
/* Number of elements and *out; -1 when the attribute is absent and has no default. */
PAI_API int pai_node_ints(const pai_node *n, const char *name, const int64_t **out);
PAI_API int pai_node_floats(const pai_node *n, const char *name, const float **out);
PAI_API bool pai_node_is(const pai_node *n, const char *op_type); /* of ai.onnx, any version */
PAI_API bool pai_node_is_in(const pai_node *n, const char *domain, const char *op_type);
/* The i-th input or output, NULL when omitted or beyond the list. */
PAI_API pai_value *pai_node_in(const pai_node *n, int i);
PAI_API pai_value *pai_node_out(const pai_node *n, int i);
PAI_API const char *pai_prop_get(const pai_props *p, const char *key); /* NULL: none */
PAI_API void pai_prop_set(pai_arena *a, pai_props *p, const char *key, const char *value);
/* Contents that no run can change: an initialiser that is not an input (IR >= 4), or the value of
 * a Constant node; NULL otherwise. */
PAI_API const pai_tensor *pai_value_constant(const pai_value *v);
/* A name for messages: node name, else first output, else op type. */
PAI_API const char *pai_node_label(const pai_node *n);

/* Building: used by readers and by the patch; everybody else goes through a patch. */
PAI_API pai_value *pai_graph_add_value(pai_graph *g, const char *name); /* registers the name */
PAI_API pai_node *pai_graph_add_node(pai_graph *g, const char *domain, const char *op_type,
				     int n_in, int n_out); /* appended; resolves op */
/* The row a node means in its graph: NULL for an unknown operator or a model-local function. */
PAI_API const pai_op *pai_node_row(const pai_node *n);
/* `hint` (copied by nobody), or the next of hint_1, hint_2, ... that no graph of the model uses. */
PAI_API const char *pai_model_fresh_name(pai_model *m, const char *hint);
/* The name may be made again, as the next of its hint. */
PAI_API void pai_model_release_name(pai_model *m, const char *name);
PAI_API pai_graph *pai_graph_new(pai_model *m, pai_graph *outer, pai_node *owner, const char *name);
/* A copy of the whole model in an arena of its own; contents of tensors are shared with `m`, which
 * must outlive the copy. */
PAI_API pai_model *pai_model_clone(const pai_model *m);

/* ---- uses.c: analyses over a graph, valid for the epoch they were made in ---- */

typedef struct pai_uses { /* who reads each value of a graph, subgraphs included */
	uint64_t epoch;
	const pai_use **of; /* [value id] */
	int *n;             /* [value id] */
	int n_values;
} pai_uses;

PAI_API pai_uses *pai_uses_new(pai_arena *a, const pai_graph *g);
PAI_API int pai_uses_count(const pai_uses *u, const pai_value *v); /* graph outputs not counted */

/* Calls fn for g and every graph below it (subgraphs of nodes), outermost first. */
PAI_API pai_status pai_graph_walk(pai_graph *g, pai_status (*fn)(void *payload, pai_graph *g),
				  void *payload);

/* ---- patch.c: a proposed change ---- */

/* A patch belongs to one graph. It is filled with edits, grouped: each group stands for one rewrite
 * and is applied whole or not at all. New nodes and values are usable at once as operands of
 * further new nodes, but the graph does not see them before pai_patch_apply. */
PAI_API pai_patch *pai_patch_new(pai_graph *g);
/* Starts a rewrite. `at`: where it happens, new nodes are placed right before it (NULL: at the
 * end). `what` names it in messages. */
PAI_API void pai_patch_begin(pai_patch *p, const pai_node *at, const char *what);
/* A node with n_out fresh values, named from `hint` (unique) when applied. op_type of domain in the
 * graph's opset; where that opset has no such row the newest row is used. */
PAI_API pai_node *pai_patch_node(pai_patch *p, const char *domain, const char *op_type,
				 const char *hint, int n_in, pai_value *const *in, int n_out);
/* pai_patch_node of ai.onnx with one output; returns that. NULL operands are omitted inputs. */
PAI_API pai_value *pai_patch_op(pai_patch *p, const char *op_type, const char *hint, int n_in,
				pai_value *const *in);
#define PAI_OP1(p, op, hint, a) pai_patch_op((p), (op), (hint), 1, (pai_value *[]){(a)})
#define PAI_OP2(p, op, hint, a, b) pai_patch_op((p), (op), (hint), 2, (pai_value *[]){(a), (b)})
#define PAI_OP3(p, op, hint, a, b, c) \
	pai_patch_op((p), (op), (hint), 3, (pai_value *[]){(a), (b), (c)})
PAI_API void pai_patch_set_int(pai_patch *p, pai_node *n, const char *name, int64_t v);
PAI_API void pai_patch_set_float(pai_patch *p, pai_node *n, const char *name, float v);
PAI_API void pai_patch_set_string(pai_patch *p, pai_node *n, const char *name, const char *v);
PAI_API void pai_patch_set_ints(pai_patch *p, pai_node *n, const char *name, int64_t n_v,
				const int64_t *v);
PAI_API void pai_patch_set_floats(pai_patch *p, pai_node *n, const char *name, int64_t n_v,
				  const float *v);
PAI_API void pai_patch_set_tensor(pai_patch *p, pai_node *n, const char *name, pai_tensor *t);
PAI_API void pai_patch_copy_attrs(pai_patch *p, pai_node *to, const pai_node *from);
PAI_API void pai_patch_set_prop(pai_patch *p, pai_node *n, const char *key, const char *value);
/* A new initialiser; the tensor must live in the model's arena. */
PAI_API pai_value *pai_patch_init(pai_patch *p, const char *hint, pai_tensor *t);
/* A new name of exactly this spelling, for what must be found again; an error if it is taken. */
PAI_API void pai_patch_name(pai_patch *p, pai_value *v, const char *name);
/* Every reader of `old` reads `now` instead, except new nodes of this rewrite that were made with
 * `old` as operand. A graph output keeps its name and type. */
PAI_API void pai_patch_replace(pai_patch *p, pai_value *old, pai_value *now);
/* One input of an existing node. */
PAI_API void pai_patch_rewire(pai_patch *p, pai_node *n, int slot, pai_value *now);
/* A new node of this rewrite takes the place of `from`, which the rewrite erases: it gets its name,
 * metadata, doc string and what else the file says of it. */
PAI_API void pai_patch_succeed(pai_patch *p, pai_node *n, const pai_node *from);
/* Existing nodes: removed; their outputs must end without readers. */
PAI_API void pai_patch_erase(pai_patch *p, pai_node *n);
/* An initialiser without readers. */
PAI_API void pai_patch_erase_init(pai_patch *p, pai_value *v);
/* New contents for an initialiser, of the same type and shape. */
PAI_API void pai_patch_set_init(pai_patch *p, pai_value *v, pai_tensor *t);
/* A model-local function that the new nodes call; the same (domain, name, overload) once. */
PAI_API void pai_patch_function(pai_patch *p, pai_function *f);
/* The model imports a domain that it does not import yet. The rewrite is stale when an earlier one
 * has imported another version of it. */
PAI_API void pai_patch_import(pai_patch *p, const char *domain, int64_t version);
/* Metadata of the patch's graph; value NULL removes the entry. */
PAI_API void pai_patch_graph_prop(pai_patch *p, const char *key, const char *value);
/* May `now` stand in for `old` everywhere? False only where old is a graph output and now cannot
 * take its name: it is an input, an initialiser, another output, or of another graph. */
PAI_API bool pai_can_replace(const pai_value *old, const pai_value *now);
/* Adds n to *counter when the rewrite is applied: what a pass counts is what was done. */
PAI_API void pai_patch_count(pai_patch *p, uint64_t *counter, uint64_t n);

typedef struct pai_applied {
	int applied; /* groups */
	int stale;   /* skipped: an earlier group changed what they were about; propose again */
} pai_applied;

/* Checks and applies the groups in order, at most `limit` of them (-1: all). Types and shapes of
 * replacements must agree, no cycle may arise, inputs and outputs keep names and types. A group
 * that fails a check is an error (a pass proposed something wrong); nothing of it is applied. */
PAI_API PAI_MUST_USE pai_status pai_patch_apply(pai_patch *p, int limit, pai_applied *out);

/* ---- wire.c, import.c, export.c, external.c: bytes <-> model ---- */

/* Reads .onnx or the text form, told apart by content; "-" is standard input. Preflight, import,
 * operators resolved; no shape inference, no verification. */
PAI_API PAI_MUST_USE pai_status pai_model_read(pai_ctx *ctx, const char *path, pai_model **out);
/* From memory; the bytes must outlive the model. `name` for messages. */
PAI_API PAI_MUST_USE pai_status pai_model_parse(pai_ctx *ctx, const char *name, const void *bytes,
						size_t n, pai_model **out);

typedef enum pai_external_mode {
	PAI_EXTERNAL_KEEP, /* as read: inline stays inline, files are written anew beside the output
			    */
	PAI_EXTERNAL_FILE, /* large tensors into one file beside the output */
	PAI_EXTERNAL_SHARE, /* keep pointing at the input's data files */
	PAI_EXTERNAL_NONE,  /* everything inline */
} pai_external_mode;

typedef struct pai_write_options {
	pai_external_mode external;
	const char *external_name; /* NULL: <output name>.<checksum>.data, so that a crash
				    * between the two files leaves a whole pair */
	bool text;                 /* the text form; set by the .onnxtxt extension as well, and for
				    * standard output by a model that was read as text */
} pai_write_options;

/* An unchanged model (epoch 0, same form, KEEP) is written byte for byte as it was read. */
PAI_API PAI_MUST_USE pai_status pai_model_write(const pai_model *m, const char *path,
						const pai_write_options *o /* NULL: defaults */);
/* Opens and attaches the contents of every tensor stored outside the model file. Called by read. */
PAI_API PAI_MUST_USE pai_status pai_external_read(pai_model *m);

/* ---- wire.c, skeleton.c: the check before protobuf-c, and its call ---- */

PAI_API const char *pai_protobuf_c_version(void); /* "1.4.1", of the library in use */

typedef struct pai_wire_blob { /* a large payload that the skeleton leaves out */
	size_t offset, n;
} pai_wire_blob;

/* Checks that bytes are a ModelProto (or another message by its full name, "onnx.TensorProto")
 * within the limits: iterative, linear time, error with byte offset and field path. */
PAI_API PAI_MUST_USE pai_status pai_wire_check(pai_ctx *ctx, const char *file, const char *message,
					       const void *bytes, size_t n);
/* A TensorProto file (input_0.pb). The tensor points into `bytes` where it can. */
PAI_API PAI_MUST_USE pai_status pai_tensor_parse(pai_ctx *ctx, pai_arena *a, const char *file,
						 const void *bytes, size_t n, pai_tensor **out);

/* ---- text_parse.c, text_print.c: ONNX's textual syntax (text.h) ---- */

PAI_API PAI_MUST_USE pai_status pai_text_parse(pai_ctx *ctx, const char *name, const char *text,
					       size_t n, pai_model **out);
/* Deterministic; elide > 0 shows at most that many elements of a tensor (display only). */
PAI_API void pai_text_print(const pai_model *m, int64_t elide, void *payload,
			    void (*put)(void *payload, const char *s, size_t n));
/* One function of a model: "<domain: ..., opset_import: [...]> name <attrs> (in) => (out) {...}" */
PAI_API PAI_MUST_USE pai_status pai_text_parse_function(pai_ctx *ctx, pai_model *m,
							const char *text, pai_function **out);

/* ---- shape.c: types and shapes ---- */

/* What a shape rule sees of one node. The same rule serves the symbolic inference of a model, the
 * plan (all sizes known) and a run (contents known). */
typedef struct pai_shape_ctx {
	pai_ctx *ctx;
	const pai_node *node;
	int n_in, n_out;
	const pai_type *const *in;     /* NULL: omitted */
	const pai_tensor *const *data; /* contents where known, else NULL */
	const pai_dim *const *dims; /* contents of integer inputs as sizes where known, else NULL */
	const int *n_dims;          /* [n_in], -1: not known */
	pai_type *out;              /* to fill; kind, dtype preset from the row; rank -1 */
	const pai_dim **out_dims;   /* to fill: contents of integer outputs, when known */
	int *n_out_dims;            /* preset -1 */
	pai_arena *arena;
	/* Infers a subgraph of the node with the given input types (NULL: what it states itself)
	 * and gives the types of its outputs. */
	pai_status (*subgraph)(struct pai_shape_ctx *s, pai_graph *g, int n, const pai_type *inputs,
			       int n_out, pai_type *outputs);
	void *payload;
} pai_shape_ctx;

/* A rule leaves unknown what it cannot tell and fails only on what is wrong in every case. */
typedef pai_status (*pai_shape_fn)(pai_shape_ctx *s);
PAI_API pai_shape_fn pai_shape_rule(const pai_op *op); /* NULL: none */
/* Declared for the rows: pai_shape_<cell>. Generic rules are in shape_rules.c; a rule that serves
 * one operator stands beside its kernel, so that an operator is one file. */
#ifdef PAI_BUILDING
#define OP(name, since, traits, in, out, attr, types, shape, ...) \
	pai_status pai_shape_##shape(pai_shape_ctx *s);
#include "schemas/all_ops.def"
#undef OP
#endif

/* Helpers for rules. Index i of inputs, o of outputs. */
PAI_API bool pai_shape_known(const pai_shape_ctx *s, int i); /* input i has a known rank */
PAI_API void pai_shape_set(pai_shape_ctx *s, int o, int rank, const pai_dim *dims); /* copies */
PAI_API void pai_shape_copy(pai_shape_ctx *s, int o, int i); /* shape of input i */
/* Integer contents of input i as sizes: count, or -1 when unknown. */
PAI_API int pai_shape_ints(const pai_shape_ctx *s, int i, const pai_dim **out);
/* Axes from attribute `name` or input i (opset change), made non-negative; -1 unknown, -2 error
 * reported, else count; absent: 0 and *out NULL. */
PAI_API int pai_shape_axes(pai_shape_ctx *s, const char *name, int i, int rank, int64_t **out);
PAI_API pai_status pai_shape_axis(pai_shape_ctx *s, int64_t axis, int rank, int64_t *out);
/* numpy broadcasting of two shapes into out (room for the longer); -1: sizes do not fit. */
PAI_API int pai_dims_broadcast(pai_ctx *ctx, int ra, const pai_dim *a, int rb, const pai_dim *b,
			       pai_dim *out);

/* Infers types, shapes and small integer contents of the whole model, functions' call sites and
 * subgraphs included. Values keep what the file states where it says more; a contradiction is an
 * error. Overwrites earlier results. */
PAI_API PAI_MUST_USE pai_status pai_infer(pai_model *m);
/* Runs the rule of one node with these inputs, or infers the body of the function it calls, and
 * fills out[0 .. n->n_out), arrays in the arena; what cannot be told stays unknown. Of an input,
 * dtype and dims count (rank -1: unknown, a dim < 0: a pai_dim), and data where it is not NULL;
 * NULL: omitted. Values that subgraphs read from outside are taken as pai_infer left them. */
PAI_API PAI_MUST_USE pai_status pai_shape_node(pai_ctx *ctx, pai_arena *a, const pai_node *n,
					       const pai_tensor *const *in, pai_type *out);
/* In textual syntax: "float[N,3]", "seq(int64[])" of unknown rank, "bool" a scalar, "?" nothing. */
PAI_API const char *pai_type_text(pai_ctx *ctx, pai_arena *a, const pai_type *t);
/* Gives a free dimension a size: "N" by symbol, or "input_name:axis". */
PAI_API PAI_MUST_USE pai_status pai_model_fix_dim(pai_model *m, const char *name, int64_t size);

/* ---- verify.c ---- */

/* SSA, order, types, slots, attributes, opsets, graph inputs and outputs. Reports up to 20. */
PAI_API PAI_MUST_USE pai_status pai_verify(const pai_model *m);

/* ---- glob.c ---- */
PAI_API bool pai_glob(const char *pattern, const char *s); /* * and ? */

/* ---- options.c: name{key=value,...},name,... ---- */

typedef struct pai_setting {
	const char *key, *value;
} pai_setting;

typedef struct pai_item { /* one element of a pipeline, or an optimiser, a loss, ... */
	const char *name;
	pai_setting *at;
	int n;
} pai_item;

typedef enum pai_opt_type {
	PAI_OPT_INT,
	PAI_OPT_FLOAT,
	PAI_OPT_BOOL,
	PAI_OPT_STRING,
	PAI_OPT_FLOATS, /* "1,2.5,3" */
} pai_opt_type;

typedef struct pai_option { /* what a table row accepts; a list ends with a NULL name */
	const char *name;
	pai_opt_type type;
	const char *def; /* default as text; NULL: must be given or may be absent (required) */
	bool required;
	double min, max;     /* of each number; both 0: any */
	const char *choices; /* "a|b|c" or NULL */
	const char *help;
} pai_option;

/* Parses the grammar above; a value with commas is quoted with "...". */
PAI_API PAI_MUST_USE pai_status pai_items_parse(pai_ctx *ctx, pai_arena *a, const char *text,
						pai_item **out, int *n);
/* Checks an item's settings against its options: unknown keys name the nearest known one. */
PAI_API PAI_MUST_USE pai_status pai_item_check(pai_ctx *ctx, const pai_item *item,
					       const pai_option *options);
/* The item with the defaults of what it does not give, in the order of the options. */
PAI_API pai_item *pai_item_resolve(pai_arena *a, const pai_item *item, const pai_option *options);
/* The canonical spelling, of what the items give. */
PAI_API const char *pai_items_print(pai_arena *a, const pai_item *items, int n);
/* Value given, or the default; the item has passed pai_item_check. */
PAI_API int64_t pai_item_int(const pai_item *item, const pai_option *options, const char *key);
PAI_API double pai_item_float(const pai_item *item, const pai_option *options, const char *key);
PAI_API bool pai_item_bool(const pai_item *item, const pai_option *options, const char *key);
PAI_API const char *pai_item_string(const pai_item *item, const pai_option *options,
				    const char *key); /* NULL: absent */
/* As many numbers as *n says, in the arena; NULL: absent. */
PAI_API const double *pai_item_floats(const pai_item *item, const pai_option *options,
				      const char *key, pai_arena *a, int64_t *n);
#ifdef __cplusplus
}
#endif
#endif
