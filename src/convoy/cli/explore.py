"""convoy explore: a page that runs trained networks in the browser."""

from convoy import api
from convoy.cli.app import Call, command, print_json, print_path


@command(api.explore)
def explore(call: Call, as_json: bool) -> None:
    page = call()
    if as_json:
        print_json({"page": str(page), "bytes": page.stat().st_size})
        return
    print_path(page)
