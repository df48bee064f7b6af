/* text_out.h -- writing the tokens of the text form: text_out.c, used by text_print.c. */
#ifndef PAI_TEXT_OUT_H
#define PAI_TEXT_OUT_H

#include "compiler/text.h"

typedef struct text_out {
	pai_ctx *ctx;
	pai_arena *scratch;
	const text_entries *stored; /* NULL: where the model says */
	int64_t elide;
	int depth; /* of indentation */
	void *payload;
	void (*put)(void *payload, const char *s, size_t n);
	size_t n;
	char buf[4096];
} text_out;

void text_flush(text_out *o);
void text_puts(text_out *o, const char *s);
void text_line(text_out *o); /* a new line, indented */
void text_put_int(text_out *o, int64_t v);
void text_put_float(text_out *o, float v);
/* In quotes. In annotations line ends are escaped, since a comment ends with its line. */
void text_put_quoted(text_out *o, const char *s, size_t n, bool note);
void text_put_string(text_out *o, const char *s);
void text_put_id(text_out *o, const char *s);      /* quoted where it is no identifier */
void text_put_untyped(text_out *o, const char *s); /* where a type may stand as well */
void text_put_type(text_out *o, const pai_type *t);
void text_put_tensor_type(text_out *o, const pai_tensor *t);
void text_put_contents(text_out *o, const pai_tensor *t); /* {...}, or where they are */
/* single: the attribute's only one, whose name may stand in an annotation. */
void text_put_tensor(text_out *o, const pai_tensor *t, bool single);

#endif
