/* text.h -- what the files of the text form share.
 *
 * text_lex.c cuts characters into tokens, text_data.c reads types and tensors, text_attribute.c
 * attributes, text_graph.c graphs, text_parse.c functions and models; text_print.c and text_out.c
 * write, text_number.c turns numbers into the shortest text that reads back to the same bits.
 *
 * The grammar is docs/Syntax.md of ONNX. What it has no form for stands in annotations, which are
 * comments to every other reader: a line that starts with "#@", followed by a subject, a key and a
 * value. In strings of annotations \n and \r stand for line ends.
 *
 *     #@ node metadata_props: ["pai.dendrite.role": "branch"]    about the node below
 *     #@ node doc_string: "..."
 *     #@ graph doc_string: "..."                                 about the graph of these braces;
 *     #@ graph metadata_props: [...]                             model and function likewise
 *     #@ value NAME doc_string: "..."                            init NAME, attr NAME (of the node
 *                                                                below), tensor NAME (in that) too
 *     #@ tensor ATTR name: "a/b"                                 where it is no identifier
 *     #@ SUBJECT rest: "0a1b..."        fields we do not know, as protobuf bytes in hex
 *
 * Further, this reader and writer quote domains, operators, attributes and subgraphs whose names
 * are no identifiers, and read lists of tensors and graphs.
 */
#ifndef PAI_TEXT_H
#define PAI_TEXT_H

#include "compiler/compiler.h"

typedef struct text_note { /* an annotation that waits for what it is about */
	size_t from, to;   /* its bytes, without the "#@" */
} text_note;

typedef struct text_attr_note { /* what is said about an attribute of the node below */
	const char *name;
	bool tensor;        /* about the tensor in it */
	const void *origin; /* Onnx__AttributeProto or Onnx__TensorProto */
} text_attr_note;

typedef struct text_in { /* a text being read */
	pai_ctx *ctx;
	pai_arena *arena; /* of the model */
	const char *file;
	const char *s; /* not ended by a NUL */
	size_t n, at;
	size_t token;       /* where the last token began, for messages */
	bool in_note;       /* line ends are escaped in strings */
	size_t zero_nbytes; /* memory made for tensors written as {} */
	int depth;          /* of types and subgraphs */
	PAI_VEC(text_note) notes;
} text_in;

typedef struct text_node_notes { /* annotations of the node that follows */
	bool any;
	pai_props props;
	const void *origin; /* Onnx__NodeProto of what else there is; NULL: nothing */
	PAI_VEC(text_attr_note) attrs;
} text_node_notes;

typedef struct text_num { /* a literal, inside the text */
	const char *s;
	size_t n;
	bool is_float;
} text_num;

/* text_lex.c. All skip blanks and comments first. */

PAI_MUST_USE pai_status text_fail(text_in *t, pai_code code, const char *fmt, ...) PAI_PRINTF(3, 4);
/* "expected <what>, found ..." at the next token. */
PAI_MUST_USE pai_status text_expected(text_in *t, const char *what);
int text_peek(text_in *t); /* next character, -1 at the end */
bool text_accept(text_in *t, char c);
PAI_MUST_USE pai_status text_match(text_in *t, char c);
PAI_MUST_USE pai_status text_match2(text_in *t, const char *two); /* "=>" */
bool text_id_start(int c);
/* The identifier ahead without taking it; length 0: none. */
size_t text_peek_id(text_in *t, const char **out);
bool text_peek_is(text_in *t, const char *id);
PAI_MUST_USE pai_status text_id(text_in *t, const char **out);
PAI_MUST_USE pai_status text_string(text_in *t, pai_str *out);
PAI_MUST_USE pai_status text_cstring(text_in *t, const char **out); /* no NUL inside */
PAI_MUST_USE pai_status text_name(text_in *t, const char **out);    /* identifier or string */
bool text_peek_number(text_in *t);                                  /* number, inf or nan ahead */
PAI_MUST_USE pai_status text_number(text_in *t, text_num *out);
PAI_MUST_USE pai_status text_int(text_in *t, int64_t *out);
PAI_MUST_USE pai_status text_num_int(text_in *t, text_num num, int64_t *out);
PAI_MUST_USE pai_status text_num_uint(text_in *t, text_num num, uint64_t *out);
PAI_MUST_USE pai_status text_num_float(text_in *t, text_num num, float *out);
PAI_MUST_USE pai_status text_num_double(text_in *t, text_num num, double *out);
/* Contents of [ "key": "value", ... ]. */
PAI_MUST_USE pai_status text_props(text_in *t, pai_props *out);
/* More than `limit`: an error that names it. */
PAI_MUST_USE pai_status text_limit(text_in *t, const char *name, uint64_t n, uint64_t limit);

/* text_data.c */

bool text_peek_type(text_in *t);
PAI_MUST_USE pai_status text_type(text_in *t, pai_type *out);
/* What follows "type name =": {...}, [external data], or nothing. */
PAI_MUST_USE pai_status text_tensor(text_in *t, const pai_type *type, const char *name,
				    pai_tensor **out);

/* text_attribute.c, text_graph.c, text_parse.c */

typedef struct text_parser {
	text_in t;
	pai_model *m;
	uint64_t n_nodes, n_inits;
} text_parser;

extern const char *const text_attr_types[15]; /* by pai_attr_type */
/* What follows the name of an attribute; n NULL: the default of a function's. */
PAI_MUST_USE pai_status text_attribute(text_parser *p, pai_graph *g, pai_node *n, pai_attr *a);
/* <...>, or nothing. */
PAI_MUST_USE pai_status text_attributes(text_parser *p, pai_graph *g, pai_node *n);
/* What follows the name of a graph: (inputs) => (outputs) <values> {nodes}. */
PAI_MUST_USE pai_status text_graph(text_parser *p, pai_graph *g);
/* The same, where inputs and outputs need no types. */
PAI_MUST_USE pai_status text_function_graph(text_parser *p, pai_graph *g);
PAI_MUST_USE pai_status text_subgraph(text_parser *p, pai_graph *outer, pai_node *owner,
				      pai_graph **out);

/* text_number.c. Writes into `to` (at least TEXT_NUMBER bytes) and gives the length. While these
 * are used the thread's locale must be "C": text_locale_begin. */

enum { TEXT_NUMBER = 48 };
int text_from_float(char *to, float v);
int text_from_double(char *to, double v);
typedef struct text_locale {
	void *own, *before;
} text_locale;
text_locale text_locale_begin(void);
void text_locale_end(text_locale l);

/* text_note.c */

enum text_subject_id {
	TEXT_MODEL,
	TEXT_GRAPH,
	TEXT_FUNCTION,
	TEXT_NODE,
	TEXT_VALUE,
	TEXT_INIT,
	TEXT_ATTR,
	TEXT_TENSOR,
};
const char *text_subject_name(enum text_subject_id who);
/* Of the message an object came with; NULL: none. */
pai_props text_meta(pai_arena *a, enum text_subject_id who, const void *origin);
const char *text_doc(enum text_subject_id who, const void *origin);
/* ... without what the text says by itself, or, `whole`, with it. */
const char *text_rest(pai_arena *a, enum text_subject_id who, const void *origin, bool whole);
PAI_MUST_USE pai_status text_function_doc(text_in *t, pai_function *f);

/* Reads the annotations collected so far. `g`: the graph of the braces we are in; `node`: to be
 * filled for the node that follows. */
PAI_MUST_USE pai_status text_read_notes(text_in *t, pai_model *m, pai_graph *g,
					text_node_notes *node);

/* text_print.c */

typedef struct text_entries { /* where a tensor's contents stand outside the text; NULL: nowhere */
	const pai_props *(*of)(void *payload, const pai_tensor *t);
	void *payload;
} text_entries;
void text_print_stored(const pai_model *m, const text_entries *stored, void *payload,
		       void (*put_bytes)(void *payload, const char *s, size_t n));

bool text_is_id(const char *s); /* text_out.c */

#endif
