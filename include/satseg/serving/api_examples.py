"""What the OpenAPI description says about requests and answers, with examples."""

from typing import Any

_BINARY = {"schema": {"type": "string", "format": "binary"}}
PROBLEM_SCHEMA: dict[str, Any] = {
    "type": "object",
    "required": ["type", "title", "status", "detail", "request_id"],
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "request_id": {"type": "string"},
    },
}
POLYGONS: dict[str, Any] = {
    "type": "FeatureCollection",
    "name": "answer",
    "crs": {"type": "name", "properties": {"name": "urn:ogc:def:crs:EPSG::32636"}},
    "features": [
        {
            "type": "Feature",
            "id": 1,
            "properties": {"id": 1, "class": "building", "class_id": 1, "area_m2": 84.2, "confidence": 0.93},
            "geometry": {
                "type": "Polygon",
                "coordinates": [
                    [
                        [454100.0, 28400.0],
                        [454100.0, 28390.0],
                        [454108.4, 28390.0],
                        [454108.4, 28400.0],
                        [454100.0, 28400.0],
                    ]
                ],
            },
        }
    ],
}


def problem(description: str, status: int, title: str, detail: str) -> dict[str, Any]:
    """Return how an error is described."""
    example = {"type": "about:blank", "title": title, "status": status, "detail": detail, "request_id": "5f0c2a"}
    return {
        "description": description,
        "content": {"application/problem+json": {"schema": PROBLEM_SCHEMA, "example": example}},
    }


_RETRY = {
    "Retry-After": {"description": "Seconds to wait.", "schema": {"type": "integer", "minimum": 1}, "required": True}
}
_REFUSED = problem("No key, or a wrong one.", 401, "Unauthorized", "The key is not right.")
_ELSEWHERE = problem(
    "Without keys: the request names another host than this machine.",
    421,
    "Misdirected Request",
    "Host 'example.org' is not this machine; without API keys others are not served.",
)
_NOT_READY = problem(
    "No model is loaded yet.", 503, "Service Unavailable", "There is no model to answer with: it is being loaded."
) | {"headers": _RETRY}
_MODEL_HEADERS = {
    "X-Model-Version": {"description": "Version that answered.", "schema": {"type": "string"}, "required": True},
    "X-Engine": {"description": "What ran it.", "schema": {"type": "string"}, "required": True},
    "X-Mean-Confidence": {
        "description": "Mean probability of the chosen side.",
        "schema": {"type": "number", "minimum": 0, "maximum": 1},
    },
    "X-Note": {"description": "What to know of how the image was read.", "schema": {"type": "string"}},
}

SEGMENT_REQUEST: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "description": "The image, with the bands and the pixel type of `/v1/model`; its content decides its format.",
        "content": {"image/tiff": _BINARY, "image/png": _BINARY, "image/jpeg": _BINARY},
    }
}
SEGMENT_RESPONSES: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The map, on the grid of the image.",
        "headers": _MODEL_HEADERS,
        "content": {
            "image/png": _BINARY,
            "image/tiff": _BINARY,
            "application/geo+json": {
                "schema": {
                    "type": "object",
                    "required": ["type", "features"],
                    "properties": {"type": {"const": "FeatureCollection"}, "features": {"type": "array"}},
                },
                "example": POLYGONS,
            },
        },
    },
    400: problem("A header cannot be read.", 400, "Bad Request", "Content-Length '1e9' is no number."),
    401: _REFUSED,
    406: problem("No such format.", 406, "Not Acceptable", "Accept 'text/html' is not made here."),
    408: problem("The body is too slow.", 408, "Request Timeout", "The body did not come within 30 s."),
    413: problem("Too large.", 413, "Request Entity Too Large", "The image has 100000 x 100000 pixels."),
    415: problem("No image.", 415, "Unsupported Media Type", "The body is not a GeoTIFF, PNG or JPEG."),
    421: _ELSEWHERE,
    422: problem("Damaged, or other bands than the model's.", 422, "Unprocessable Entity", "The image has 4 bands."),
    429: problem("Busy.", 429, "Too Many Requests", "The service is busy. Try again in 1 s.") | {"headers": _RETRY},
    503: _NOT_READY,
}
MODEL_RESPONSES: dict[int | str, dict[str, Any]] = {401: _REFUSED, 421: _ELSEWHERE, 503: _NOT_READY}
NOT_READY: dict[int | str, dict[str, Any]] = {503: _NOT_READY}
METRICS_RESPONSES: dict[int | str, dict[str, Any]] = {
    200: {"description": "Figures.", "content": {"text/plain": {"schema": {"type": "string"}}}},
    401: _REFUSED,
    421: _ELSEWHERE,
}
