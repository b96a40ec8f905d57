"""The service's figures for Prometheus."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
TILES = (1, 2, 4, 8, 16, 32)


class Metrics:
    """One set of figures per service, so that two in one process do not mix."""

    def __init__(self) -> None:
        self._registry = registry = CollectorRegistry()
        self.requests = Counter("satseg_requests", "Requests answered.", ["path", "status"], registry=registry)
        self.seconds = Histogram(
            "satseg_request_seconds",
            "From a request's headers to the end of its answer.",
            ["path"],
            buckets=SECONDS,
            registry=registry,
        )
        self.steps = Histogram(
            "satseg_step_seconds", "Steps of a segmentation.", ["step"], buckets=SECONDS, registry=registry
        )
        self.batches = Histogram("satseg_batch_tiles", "Tiles in a model call.", buckets=TILES, registry=registry)
        self.pixels = Counter("satseg_pixels", "Pixels segmented.", registry=registry)
        self.waiting = Gauge("satseg_requests_held", "Requests being read, waiting or worked on.", registry=registry)
        self.model = Gauge("satseg_model", "1 for the model that answers.", ["version", "engine"], registry=registry)
        self.swaps = Counter("satseg_model_changes", "Tries to change the model.", ["outcome"], registry=registry)
        self.profiles = Counter(
            "satseg_request_profiles", "Request profiles for drift monitoring.", ["outcome"], registry=registry
        )

    def show_model(self, version: str, engine: str) -> None:
        """Say which model answers now."""
        self.model.clear()
        self.model.labels(version, engine).set(1)

    def text(self) -> bytes:
        """Return all figures in Prometheus' text format."""
        return generate_latest(self._registry)
