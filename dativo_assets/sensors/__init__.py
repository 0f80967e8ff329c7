"""What starts runs from outside: one sensor for all jobs whose trigger is new files or a reader's probe."""

from .alerts import alert_sensor
from .polling import Poller, Probed
from .sensor import Watched, trigger_sensor

__all__ = ["Poller", "Probed", "Watched", "alert_sensor", "trigger_sensor"]
