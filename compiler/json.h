/* json.h -- what is added to JSON in more than one place. */
#ifndef PAI_JSON_H
#define PAI_JSON_H

#include <cjson/cJSON.h>
#include <math.h>

/* JSON has no NaN: what was not measured is null. */
static inline void pai_json_number(cJSON *to, const char *key, double v)
{
	if (isfinite(v))
		cJSON_AddNumberToObject(to, key, v);
	else
		cJSON_AddNullToObject(to, key);
}

#endif
