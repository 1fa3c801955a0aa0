"""Prefect automations: drift starts `retrain`, a failed run is told to people.

`flows.prefect.deployments` applies them with the deployments; what is there already is replaced.
UNBUNDLE_NOTIFY_URL is the webhook of a chat (Slack, Mattermost, Teams …), which gets
`{"text": …}`; without it failures stay in Prefect's own pages.
"""

from prefect import get_client
from prefect.automations import AutomationCore
from prefect.blocks.notifications import CustomWebhookNotificationBlock
from prefect.events.actions import RunDeployment, SendNotification
from prefect.events.schemas.automations import EventTrigger, Posture
from prefect.exceptions import ObjectNotFound

from flows.watch import EVENT
from unbundle.base.errors import UserError

DRIFT = "unbundle: drift starts retrain"
FAILURE = "unbundle: a failed run is told"
NOTIFY = "UNBUNDLE_NOTIFY_URL"
"""Environment variable; a secret, since it lets anybody write to the chat."""

_BLOCK = "unbundle-failures"
_TOLD = "{{ flow.name }}: {{ flow_run.state.name }}: {{ flow_run.state.message }}"


def apply_automations(webhook: str | None) -> list[str]:
    """Create the automations, in place of those of the same name; the names of what holds now.

    Args:
        webhook: address that failures are posted to; None leaves that automation as it is.

    Raises:
        UserError: the deployment `retrain` is missing.
    """
    applied = [_apply(_drift())]
    if webhook:
        applied.append(_apply(_failure(webhook)))
    return applied


def _drift() -> AutomationCore:
    with get_client(sync_client=True) as client:
        try:
            deployment = client.read_deployment_by_name("retrain/retrain")
        except ObjectNotFound:
            raise UserError(
                f"{client.api_url}: no deployment retrain; "
                "run `python -m flows.prefect.deployments`"
            ) from None
    return AutomationCore(
        name=DRIFT,
        description="What the watch found too far away is trained on the next free moment.",
        trigger=EventTrigger(
            expect={EVENT},
            match={"prefect.resource.id": "unbundle.index.*"},
            posture=Posture.Reactive,
            threshold=1,
        ),
        actions=[RunDeployment(source="selected", deployment_id=deployment.id, parameters=None)],
    )


def _failure(webhook: str) -> AutomationCore:
    block = CustomWebhookNotificationBlock(
        name=_BLOCK, url=webhook, json_data={"text": "{{subject}}\n{{body}}"}
    )
    identifier = block.save(_BLOCK, overwrite=True)
    return AutomationCore(
        name=FAILURE,
        description="The state's message says what to do.",
        trigger=EventTrigger(
            expect={f"prefect.flow-run.{name}" for name in ("Failed", "Crashed", "TimedOut")},
            match={"prefect.resource.id": "prefect.flow-run.*"},
            posture=Posture.Reactive,
            threshold=1,
        ),
        actions=[SendNotification(block_document_id=identifier, subject="unbundle", body=_TOLD)],
    )


def _apply(automation: AutomationCore) -> str:
    with get_client(sync_client=True) as client:
        for one in client.read_automations_by_name(automation.name):
            client.delete_automation(one.id)
        client.create_automation(automation)
    return automation.name
