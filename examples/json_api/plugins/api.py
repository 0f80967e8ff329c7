"""A reader of a paginated JSON API: GET {url}/{object}?page=N&size=M answers {"items": [...], "next": N + 1 or null}."""

import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from functools import partial
from typing import Any

from dativo_plugin_sdk import (
    AuthenticationError,
    BaseReader,
    ConnectionError,
    ConnectionTestResult,
    DativoError,
    Options,
    RateLimit,
    RateLimitError,
    SourceConfig,
    flatten,
    paginate,
    retry,
    retry_after_s,
)
from pydantic import Field


class ApiOptions(Options):
    """How the API is asked."""

    page_size: int = Field(100, ge=1, description="rows of a page")
    attempts: int = Field(5, ge=1, description="how often a page is asked for while the API is busy")
    requests_per_s: int = Field(50, ge=1, description="at most so many pages are asked for in a second")
    timeout_s: float = Field(30, gt=0, description="the longest wait for an answer")


class JsonApi(BaseReader):
    """Reads one object of the API, a batch a page."""

    Options = ApiOptions

    def __init__(self, source_config: SourceConfig) -> None:
        super().__init__(source_config)
        self._limit = RateLimit(self.options.requests_per_s, wait=self.sleep)

    def check_connection(self) -> ConnectionTestResult:
        try:
            self._get(f"{self.source_config.objects[0]}?page=1&size=1")
        except DativoError as error:
            return ConnectionTestResult(False, error.message, error.error_code)
        return ConnectionTestResult(True, f"{self.source_config.connection['url']} answers")

    def extract(self, state_manager: Any = None) -> Iterator[list[dict[str, Any]]]:
        for name in self.source_config.objects:
            yield from paginate(partial(self._page, name), 1)

    def _page(self, name: str, page: int) -> tuple[list[dict[str, Any]], int | None]:
        path = f"{name}?page={page}&size={self.options.page_size}"
        answer = retry(partial(self._get, path), self.options.attempts, wait=self.sleep)
        return [flatten(item) for item in answer["items"]], answer["next"]

    def _get(self, path: str) -> dict[str, Any]:
        self._limit.turn()
        request = urllib.request.Request(
            f"{self.source_config.connection['url']}/{path}",
            headers={"Authorization": f"Bearer {self.source_config.credentials['token']}"},
        )
        try:
            with urllib.request.urlopen(request, timeout=self.options.timeout_s) as response:
                answer: dict[str, Any] = json.load(response)
                return answer
        except urllib.error.HTTPError as error:
            with error:
                raise self._refused(error) from None
        except urllib.error.URLError as error:
            raise ConnectionError(f"the API can't be reached: {error.reason}", hint="check API_URL") from None

    def _refused(self, error: urllib.error.HTTPError) -> DativoError:
        if error.code in (401, 403):
            return AuthenticationError("the API refuses the token", hint="check API_TOKEN")
        if error.code in (429, 503):
            wait_s = retry_after_s(error.headers.get("Retry-After"))
            return RateLimitError(f"the API is busy ({error.code})", details={"retry_after_s": wait_s})
        return ConnectionError(f"the API answered {error.code}", retryable=error.code >= 500)
