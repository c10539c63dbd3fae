"""Tasks of a shop, as an example of a module of one's own."""

from background_tasks import RunContext, TaskParams, TaskReport, background_task


class Params(TaskParams):
    """What `spec.params` may say."""

    shelf: str = "front"


@background_task(interval=60, params=Params)
async def count_stock(ctx: RunContext[Params]) -> TaskReport:
    """Count what lies on a shelf, and say so in the log."""
    counted = len(ctx.params.shelf)
    ctx.logger.info("counted", shelf=ctx.params.shelf, items=counted)
    return TaskReport(items_in=counted)
