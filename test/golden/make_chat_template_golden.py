"""Renders chat templates with transformers, and dates with Python: test/golden/chat-templates.json.

python test/golden/make_chat_template_golden.py
"""

import json
from datetime import datetime
from pathlib import Path

import jinja2
import transformers
from transformers.utils.chat_template_utils import render_jinja_template

WEATHER = {
    "type": "function",
    "function": {"name": "weather", "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}},
}
CALL = {"type": "function", "function": {"name": "weather", "arguments": {"city": "Bern", "days": 2, "exact": True, "at": None}}}
PLAIN = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]
TOOLS = [
    {"role": "user", "content": "Rain?"},
    {"role": "assistant", "content": None, "tool_calls": [CALL]},
    {"role": "tool", "name": "weather", "content": "{\"rain\": false}"},
    {"role": "assistant", "content": "No, it's \"dry\"."},
]
ABSENT = [{"role": "user", "content": "Rain?"}, {"role": "assistant", "tool_calls": [CALL]}]
THOUGHT = [{"role": "user", "content": "2+2"}, {"role": "assistant", "thinking": "sum", "content": "4"}]

EACH = "{% for m in messages %}"
END = "{% endfor %}"

# template, messages, tools
CASES = [
    ("{% if tools is not none %}[tools]{% endif %}{% if tools is defined %}d{% endif %}", PLAIN, None),
    ("{% if documents is not none %}[documents]{% endif %}{% if documents is defined %}d{% endif %}", PLAIN, None),
    ("{{ tools }}|{{ documents }}|{{ none }}|{{ true }}|{{ false }}", PLAIN, None),
    ("{% if tools %}{{ tools | tojson }}{% endif %}{{ tools | length }}", PLAIN, [WEATHER]),
    ("{{ tools }}", PLAIN, [WEATHER]),
    (EACH + "{{ m.role }}:{{ m.content }};" + END, TOOLS, None),
    (EACH + "{{ m['role'] ~ ':' ~ m['content'] ~ m.name }};" + END, TOOLS, None),
    (EACH + "{{ m.content | string }};" + END, TOOLS, None),
    (EACH + "{{ m.tool_calls | length }}{% for c in m.tool_calls %}{{ c.function.arguments | tojson }}{% endfor %};" + END, TOOLS, None),
    (EACH + "{% for c in m.tool_calls %}{{ c.function.arguments }}{% for k, v in c.function.arguments.items() %}{{ k }}={{ v }},{% endfor %}{% endfor %};" + END, TOOLS, None),
    (EACH + "{% if m.content is string %}{{ m.content }}{% elif m.content is none %}-{% else %}?{% endif %};" + END, TOOLS, None),
    (EACH + "{% if m.content is defined %}{{ m.content }}{% else %}?{% endif %}{{ m.content }};" + END, ABSENT, None),
    (EACH + "{{ m.reasoning_content }}|{{ m.thinking }}|{{ m.content }};" + END, THOUGHT, None),
    ("{% for i in range(9) %}{% if i == 2 %}{% continue %}{% endif %}{% if i == 5 %}{% break %}{% endif %}{{ i }}{% endfor %}", PLAIN, None),
    (EACH + "{% if loop.first %}{% continue %}{% endif %}{{ loop.index }}{{ m.role }}{% break %}" + END, TOOLS, None),
    ("{{ nothing | length }}|{{ nothing | list }}|{{ nothing | join(',') }}|{{ nothing | upper }}|{{ nothing | trim }}|{{ nothing | default('d') }}", PLAIN, None),
    ("{{ nothing | selectattr('a') | list | length }}|{{ nothing | first }}|{{ nothing | last }}|{{ nothing | items | list }}", PLAIN, None),
    ("{% if nothing | length > 0 %}a{% else %}b{% endif %}{% if nothing %}a{% endif %}{{ nothing }}", PLAIN, None),
    ("{% for a in nothing %}x{% else %}none{% endfor %}{% for a in messages[0].nothing %}x{% endfor %}.", PLAIN, None),
    ("{% for a in nothing if a %}x{% else %}none{% endfor %}", PLAIN, None),
    ("{% for a in none %}x{% endfor %}", PLAIN, None),
    ("{{ nothing.more }}", PLAIN, None),
    ("{{ nothing + 'a' }}", PLAIN, None),
    ("{{ 'a' in nothing }}|{{ nothing == none }}|{{ nothing is none }}|{{ nothing is defined }}", PLAIN, None),
    ("{{ nothing is iterable }}|{{ messages[0] is iterable }}|{{ messages[0] is mapping }}|{{ true is number }}|{{ 1.5 is float }}|{{ 'a' is iterable }}|{{ 1 is iterable }}", PLAIN, None),
    ("{{ nothing is not iterable }}|{{ 1 is not iterable }}", PLAIN, None),
    ("{{ [1, 'a', none, true, 1.0, 'it\\'s', [2], {'k': 'v'}] }}|{{ (1, 2) }}|{{ {} }}|{{ [] }}", PLAIN, None),
    ("{{ ['say \"it\\'s\"', 'é', 'tab\\t', 'line\\n', '\\\\', '\\u200b', '\\x7f', '😀'] }}", PLAIN, None),
    ("{{ 'a' ~ none ~ true ~ 1 ~ 1.5 ~ nothing ~ [1] }}", PLAIN, None),
    ("{{ {'a': [1, {'b': none}], 'é': '<\\''} | tojson }}|{{ {'a': [1, 2]} | tojson(indent=2) }}|{{ 'é\"' | tojson }}|{{ none | tojson }}", PLAIN, None),
    ("{% set ns = namespace(n=0, seen=none) %}" + EACH + "{% set ns.n = ns.n + 1 %}{% set ns.seen = m.role %}" + END + "{{ ns.n }}{{ ns.seen }}", PLAIN, None),
    ("{% macro f(a, b=none) %}[{{ a }}{{ b }}]{% endmacro %}{{ f(1) }}{{ f('x', b=[1]) }}", PLAIN, None),
    ("{% set x %}a{{ none }}b{% endset %}{{ x }}{{ x | length }}", PLAIN, None),
    (EACH + "{% generation %}{{ m.content }}{% endgeneration %}" + END, PLAIN, None),
    ("{{ messages | map(attribute='role') | join('-') }}|{{ messages | selectattr('role', 'equalto', 'user') | list | length }}|{{ messages[-1].role }}|{{ messages[1:] | length }}", PLAIN, None),
    ("{{ 'a b'.split(' ') }}|{{ ' x '.strip() }}|{{ 'abc'[::-1] }}|{{ 7 // 2 }}|{{ 7 % 4 }}|{{ 2 ** 3 }}|{{ 7 / 2 }}", PLAIN, None),
    ("{{ messages[0].get('name') }}|{{ messages[0].get('name', 'n') }}|{{ messages[0].keys() | list }}|{{ 'role' in messages[0] }}|{{ 'name' in messages[0] }}", PLAIN, None),
    ("{{ 'a' if false }}|{{ 'a' if true else 'b' }}|{{ none or 'x' }}|{{ '' or none }}", PLAIN, None),
    ("{{ add_generation_prompt }}|{{ bos_token }}|{{ eos_token is defined }}", PLAIN, None),
    ("{% if true %}\n  x\n  {% endif %}\ny{# c #}\n{%- if true -%}\n z\n{%- endif %}\n", PLAIN, None),
    ("{% for i in [1, 2, 3] %}a{{ i }}{% if i == 2 %}b{% if true %}c{% continue %}{% endif %}{% endif %}d{% endfor %}", PLAIN, None),
    ("{% for i in [1, 2] %}{% for j in [1, 2, 3] %}{{ i }}{{ j }} {% if j == i %}{% break %}{% endif %}{% endfor %}|{% else %}e{% endfor %}", PLAIN, None),
    ("{% for i in [1, 2, 3] %}{% if i == 1 %}{% set x = 5 %}{% endif %}{{ x }}{% endfor %}{{ x }}", PLAIN, None),
    ("{% set x = 1 %}{% for i in [1, 2] %}{{ x }}{% set x = x + 1 %}{{ x }}{% endfor %}{{ x }}", PLAIN, None),
    ("{% for i in [1, 2, 3] %}{{ loop.index }}{{ loop.index0 }}{{ loop.revindex }}{{ loop.revindex0 }}{{ loop.first }}{{ loop.last }}{{ loop.length }}{{ loop.previtem }}{{ loop.nextitem }};{% endfor %}", PLAIN, None),
    ("{% for i in [1, 2, 3] if i > 1 %}{{ loop.index }}{{ loop.length }}{{ loop.previtem }}{{ i }};{% endfor %}", PLAIN, None),
    ("{% for k, v in {'a': 1, 'b': none}.items() %}{{ k }}{{ v }}{% endfor %}{% for k in {'a': 1} %}{{ k }}{% endfor %}{% for c in 'ab' %}{{ c }}.{% endfor %}", PLAIN, None),
    ("{{ 1 == '1' }}|{{ '' == 0 }}|{{ none == false }}|{{ true == 1 }}|{{ [1] == [1] }}|{{ {'a': 1} == {'a': 1} }}|{{ 1 == 1.0 }}|{{ nothing == nothing }}|{{ nothing != none }}|{{ messages[0] == messages[0] }}", PLAIN, None),
    ("{% if [] %}a{% endif %}{% if {} %}b{% endif %}{% if '' %}c{% endif %}{% if 0 %}d{% endif %}{% if 0.0 %}e{% endif %}{% if none %}f{% endif %}{% if [0] %}g{% endif %}{% if not messages %}h{% endif %}", PLAIN, None),
    ("{{ 1 in [1, 2] }}|{{ '1' in [1] }}|{{ none in [none] }}|{{ 'b' in 'abc' }}|{{ 'x' not in {'x': 1} }}|{{ 1 in [true] }}", PLAIN, None),
    ("{% for m in messages %}{% if loop.index0 > 0 and messages[loop.index0 - 1].role == 'user' %}after user{% endif %}{% endfor %}", PLAIN, None),
    ("{{ messages[0].nothing.more }}", PLAIN, None),
    ("{{ messages[5].role }}", PLAIN, None),
    ("{% call f() %}{% endcall %}", PLAIN, None),
    ("{{ raise_exception('no') }}", PLAIN, None),
    ("{{ range(3) | list }}|{{ range(1, 7, 2) | list }}|{{ range(3, 0, -1) | list }}", PLAIN, None),
    ("{{ messages[0].content | upper | replace('H', 'J') | lower }}|{{ ['b', 'a'] | sort | first }}|{{ [1, 2] | reverse | list }}", PLAIN, None),
]

FORMATS = [
    *["%Y-%m-%d", "%d %b %Y", "%A %B", "%y", "%I:%M %p", "%-d", "%-m/%-d/%y", "%H:%M:%S", "%j", "%-j", "%U %W %V %G %u %w"],
    *["%a", "%e", "%k %l", "%c", "%x %X", "%D", "%F", "%T", "%R", "%r", "%C", "%g", "%h", "%n%t", "%%", "%z%Z", "%f", "%P"],
    *["%_d", "%_m", "%^a %^B", "%-I", "%-H", "%-S", "%0e", "100%", "%s"],
]
DATES = [(2026, 11, 26, 21, 5, 9, 7000), (2024, 1, 1, 0, 0, 0, 0), (2023, 12, 31, 12, 30, 59, 999000), (2021, 1, 3, 9, 8, 7, 0), (2020, 2, 29, 23, 59, 0, 1000)]


def render(template, messages, tools):
    try:
        rendered, _ = render_jinja_template([messages], tools=tools, chat_template=template, bos_token="<s>")
        return {"text": rendered[0]}
    except (jinja2.TemplateError, TypeError) as error:
        return {"error": str(error)}


golden = {
    "transformers": transformers.__version__,
    "jinja2": jinja2.__version__,
    "cases": [
        {"template": template, "messages": messages, "tools": tools, **render(template, messages, tools)}
        for template, messages, tools in CASES
    ],
    "dates": [
        {"date": date, "format": form, "text": datetime(*date).strftime(form)} for date in DATES for form in FORMATS if form != "%s"
    ],
}
path = Path(__file__).parent / "chat-templates.json"
path.write_text(json.dumps(golden, indent=1, ensure_ascii=False) + "\n")
print(len(golden["cases"]), len(golden["dates"]))
