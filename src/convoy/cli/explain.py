"""convoy explain: attribution maps and statistics of a trained network."""

from convoy import api
from convoy.cli.app import Call, command, print_json, print_path, say


@command(api.explain)
def explain(call: Call, as_json: bool) -> None:
    explained = call()
    from convoy.explaining import words
    from convoy.explaining.result import EXPLANATION

    if as_json:
        print_json({"page": str(explained.page), **EXPLANATION.dump_python(explained.explanation, mode="json")})
        return
    say(words.sentence(explained.explanation))
    for caveat in words.caveats(explained.explanation):
        say(f"- {caveat}")
    print_path(explained.page)
